"""The gateway's numbers for Prometheus, in a registry of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from domain.records import Json

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0)


class Traffic:
    """Frames of all sockets since the start, as plain numbers: these change with every single frame."""

    __slots__ = ("frames_in", "frames_out", "pings")

    def __init__(self) -> None:
        self.frames_in = self.frames_out = self.pings = 0


class Metrics:
    """Labels are route templates and statuses only: their number is bounded."""

    def __init__(self) -> None:
        # Otherwise there is a second series for each, which says when the first began.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "doorstep_http_requests",
            "HTTP requests answered",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self.request_s = Histogram(
            "doorstep_http_request_seconds",
            "Time to answer",
            ("route",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.traffic = traffic = Traffic()
        self.count("doorstep_ws_frames_in", "Frames from drivers", lambda: traffic.frames_in)
        self.count("doorstep_ws_frames_out", "Frames to drivers", lambda: traffic.frames_out)
        self.count("doorstep_pings", "Positions from drivers' sockets", lambda: traffic.pings)
        self.vendor_calls = Counter(
            "doorstep_vendor_calls", "Calls to vendors", ("port", "outcome"), registry=self.registry
        )

    def gauge(self, name: str, help_: str, read: Callable[[], float]) -> None:
        """A number that is read when the page is asked for."""
        Gauge(name, help_, registry=self.registry).set_function(read)

    def count(self, name: str, help_: str, read: Callable[[], float]) -> None:
        """A number that only rises, read when the page is asked for."""
        self.registry.register(_Count(name, help_, read))

    def page(self) -> bytes:
        """The page in Prometheus' text format."""
        return generate_latest(self.registry)


class _Count(Collector):
    def __init__(self, name: str, help_: str, read: Callable[[], float]) -> None:
        self._name, self._help, self._read = name, help_, read

    def collect(self) -> Iterator[CounterMetricFamily]:
        yield CounterMetricFamily(self._name, self._help, self._read())


def region_lines(stats: Sequence[dict[str, Json]]) -> bytes:
    """The regions' numbers in the same format, a gauge each, labelled by region."""
    names = [name for name, value in stats[0].items() if isinstance(value, int | float)] if stats else []
    lines = []
    for name in names:
        lines.append(f"# TYPE doorstep_region_{name} gauge")
        lines += [f'doorstep_region_{name}{{region="{one["region_id"]}"}} {one[name]}' for one in stats]
    return "".join(line + "\n" for line in lines).encode()
