"""No road engine: straight lines, and the travel model's times."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from domain.ground.arrays import F64
from domain.ground.geo import distance_m
from domain.ground.travel import Haversine
from domain.ports import RoadMatrix, RoadRoute


class HaversineRouter:
    """`domain.ports.RoadRouter` that answers everything and never fails."""

    def __init__(self, model: Haversine | None = None) -> None:
        self._model = model or Haversine()

    def matrix(self, sources: F64, targets: F64) -> RoadMatrix:
        ends = (sources[:, None, 0], sources[:, None, 1], targets[None, :, 0], targets[None, :, 1])
        return RoadMatrix(self._model.seconds(*ends, at_ms=0), distance_m(*ends) * self._model.detour)

    def route(self, points: Sequence[tuple[float, float]]) -> RoadRoute | None:
        lat, lng = np.array(points, np.float64).T
        ends = (lat[:-1], lng[:-1], lat[1:], lng[1:])
        return RoadRoute(
            engine="haversine",
            duration_s=float(self._model.seconds(*ends, at_ms=0).sum()),
            distance_m=float(distance_m(*ends).sum() * self._model.detour),
            line=tuple(points),
        )
