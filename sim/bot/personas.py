"""How people behave, as shares. Drawn from seeded generators, so a run can be repeated."""

from __future__ import annotations

from enum import StrEnum
from random import Random

from msgspec import Struct
from msgspec.structs import replace

TUNNEL_EVERY_S = 600.0  # server seconds between two tunnels of those who go through any, on average


class Door(StrEnum):
    """What the driver finds at the door."""

    PASS = "pass"
    UNDER_AGE = "under_age"
    EXPIRED_ID = "expired"
    WRONG_NAME = "wrong_name"
    NO_ID = "no_id"
    INTOXICATED = "intoxicated"
    NOBODY_HOME = "nobody_home"


class CustomerShares(Struct, frozen=True, kw_only=True):
    """Shares of orders (0..1). The first is found at checkout, the others at the door; what is left goes well."""

    under_age_at_checkout: float = 0.03
    under_age: float = 0.015
    expired_id: float = 0.015
    wrong_name: float = 0.01
    no_id: float = 0.02
    intoxicated: float = 0.015
    nobody_home: float = 0.025


class DriverShares(Struct, frozen=True, kw_only=True):
    """Shares of drivers who are sleepy or picky, and how often each kind lets an offer lapse or rejects it."""

    sleepy_drivers: float = 0.10
    picky_drivers: float = 0.15
    tunnel_drivers: float = 0.05  # go through tunnels: they work on without a network
    sleepy_lapse: float = 0.30
    picky_reject: float = 0.30
    others_lapse: float = 0.01
    others_reject: float = 0.03


class DriverPersona(Struct, frozen=True, kw_only=True):
    """One driver's habits. Times in server seconds; `lapse` and `reject` are chances per offer."""

    lapse: float = 0.0
    reject: float = 0.0
    think_min_s: float = 2.0
    think_max_s: float = 9.0
    speed_mps: float = 14.0
    detour: float = 1.25
    store_before_s: float = 40.0  # parking and finding the counter, before the goods are in hand
    store_after_s: float = 20.0
    door_before_s: float = 50.0  # to the door, and the ID
    door_after_s: float = 10.0
    nobody_home_wait_s: float = 180.0
    tunnel_every_s: float = float("inf")  # mean time between two tunnels
    tunnel_s: float = 100.0  # in a tunnel, on average
    roam_after_s: float = 240.0  # idle this long, the driver moves to another corner of town; inf: stays


def door_outcome(seed: int, order_id: str, shares: CustomerShares) -> Door:
    """What waits at this order's door. It hangs on the id alone, so it survives any restart of the bots."""
    draw = Random(f"{seed}:door:{order_id}").random()
    for door, share in (
        (Door.UNDER_AGE, shares.under_age),
        (Door.EXPIRED_ID, shares.expired_id),
        (Door.WRONG_NAME, shares.wrong_name),
        (Door.NO_ID, shares.no_id),
        (Door.INTOXICATED, shares.intoxicated),
        (Door.NOBODY_HOME, shares.nobody_home),
    ):
        if draw < share:
            return door
        draw -= share
    return Door.PASS


def driver_persona(rng: Random, shares: DriverShares, base: DriverPersona | None = None) -> DriverPersona:
    """A driver drawn from the shares, otherwise like `base`."""
    lapse, reject, tunnel_every_s = shares.others_lapse, shares.others_reject, float("inf")
    draw = rng.random()
    if draw < shares.sleepy_drivers:
        lapse = shares.sleepy_lapse
    elif draw < shares.sleepy_drivers + shares.picky_drivers:
        reject = shares.picky_reject
    elif draw < shares.sleepy_drivers + shares.picky_drivers + shares.tunnel_drivers:
        tunnel_every_s = TUNNEL_EVERY_S
    return replace(base or DriverPersona(), lapse=lapse, reject=reject, tunnel_every_s=tunnel_every_s)
