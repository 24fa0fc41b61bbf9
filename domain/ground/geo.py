"""Distances on the sphere, for scalars and arrays alike."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

EARTH_RADIUS_M = 6_371_008.8  # mean radius, IUGG


def distance_m(
    lat1: npt.ArrayLike, lng1: npt.ArrayLike, lat2: npt.ArrayLike, lng2: npt.ArrayLike
) -> npt.NDArray[np.float64]:
    """Great-circle distance in metres by the haversine formula; arguments in degrees, broadcast as numpy does."""
    phi1, phi2 = np.radians(lat1), np.radians(lat2)
    half_dphi = (phi2 - phi1) / 2
    half_dlam = (np.radians(lng2) - np.radians(lng1)) / 2
    a = np.sin(half_dphi) ** 2 + np.cos(phi1) * np.cos(phi2) * np.sin(half_dlam) ** 2
    return np.asarray(2 * EARTH_RADIUS_M * np.arcsin(np.sqrt(np.clip(a, 0.0, 1.0))))


def between_m(lat1: float, lng1: float, lat2: float, lng2: float) -> float:
    """The same between two places, in a tenth of the time."""
    phi1, phi2 = math.radians(lat1), math.radians(lat2)
    half_dphi, half_dlam = (phi2 - phi1) / 2, (math.radians(lng2) - math.radians(lng1)) / 2
    a = math.sin(half_dphi) ** 2 + math.cos(phi1) * math.cos(phi2) * math.sin(half_dlam) ** 2
    return 2 * EARTH_RADIUS_M * math.asin(math.sqrt(min(a, 1.0)))
