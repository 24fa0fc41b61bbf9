"""What `bench live` and its load generator say to each other: JSON lines on standard input and output."""

from __future__ import annotations

from typing import Any, TypeAlias

from msgspec import Struct


class Person(Struct, frozen=True, array_like=True):
    """An account that is signed in."""

    user_id: str
    token: str


class Stand(Struct, frozen=True, array_like=True):
    """A store and what it sells, WGS84 degrees."""

    store_id: str
    product_id: str
    lat: float
    lng: float


class LiveJob(Struct, frozen=True, kw_only=True):
    """The first line. `homes`: where each driver begins, (lat, lng). `run` is new in every run: keys are made of it."""

    host: str
    port: int
    run: str
    seed: int
    ping_hz: float
    drivers: list[Person]
    homes: list[tuple[float, float]]
    merchant: Person
    customers: list[Person]
    stands: list[Stand]


# -- commands; each is answered by one `Result` of its name -----------------------------------------------------------


class Connect(Struct, frozen=True, tag=True):
    """Open every socket and begin to ping; at most `limit_s`."""

    limit_s: float


class Place(Struct, frozen=True, tag=True):
    """Orders at a steady rate, measured from when each was due; a `Window` every `window_s`. All are held against the
    dossiers in the end, also those that are not `measured`."""

    orders_per_min: float
    duration_s: float
    window_s: float
    measured: bool = True


class Halt(Struct, frozen=True, tag=True):
    """Place no more orders."""


class Settle(Struct, frozen=True, tag=True):
    """Until every order that was placed is delivered, or for `limit_s`."""

    limit_s: float


class Drop(Struct, frozen=True, tag=True):
    """Lose all sockets at once."""


class Return(Struct, frozen=True, tag=True):
    """Until every driver was welcomed after `since_s` (of the monotonic clock, which processes share), or `limit_s`."""

    since_s: float
    limit_s: float


class Check(Struct, frozen=True, tag=True):
    """Compare what was answered with the dossiers."""


Command: TypeAlias = Connect | Place | Halt | Settle | Drop | Return | Check


class Said(Struct, frozen=True, tag=True):
    """A line of progress."""

    text: str


class Window(Struct, frozen=True, tag=True):
    """What was measured since the window before: p50, p99 and number by name, milliseconds."""

    at_s: float
    values: dict[str, float | None]


class Result(Struct, frozen=True, tag=True):
    """A command has been carried out."""

    name: str
    values: dict[str, Any]


Line: TypeAlias = Said | Window | Result
