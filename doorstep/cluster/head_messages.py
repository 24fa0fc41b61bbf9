"""What `doorstep up` and the process that holds its Ray cluster say to each other: one JSON message a line."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from actors.config import Config


class Start(Struct, tag=True, frozen=True, kw_only=True):
    """The first message: what to bring up."""

    config: Config
    data_dir: str
    ray_folder: str | None  # of a cluster of its own
    dashboard_port: int
    address: str | None
    node_kinds: str
    mark: str  # of the session (doorstep/cluster/session.py)
    lost: int = 0  # clusters before this one that were lost


class Stop(Struct, tag=True, frozen=True):
    """Drain and end; `detach` leaves the actors of a joined cluster to serve."""

    detach: bool = False


class Say(Struct, tag=True, frozen=True):
    """Progress, for the terminal."""

    text: str


class Serving(Struct, tag=True, frozen=True, kw_only=True):
    """Everything serves. The configuration is another one where actors were found that have it."""

    config: Config
    dashboard_url: str
    gateway_hosts: list[str]


class Beat(Struct, tag=True, frozen=True):
    """The cluster is there and this process is."""


class Failed(Struct, tag=True, frozen=True):
    """It cannot be brought up; the reason says what to do."""

    reason: str


class Lost(Struct, tag=True, frozen=True):
    """The cluster is gone or does not answer."""

    reason: str


Order = Start | Stop
Word = Say | Serving | Beat | Failed | Lost


def line(message: Order | Word) -> bytes:
    """As it goes over the pipe."""
    return msgspec.json.encode(message) + b"\n"


def read_order(text: bytes) -> Start | Stop:
    """A line from `up`."""
    return msgspec.json.decode(text, type=Start | Stop)


def read_word(text: bytes) -> Say | Serving | Beat | Failed | Lost:
    """A line from the head."""
    return msgspec.json.decode(text, type=Say | Serving | Beat | Failed | Lost)
