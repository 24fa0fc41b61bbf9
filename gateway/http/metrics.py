"""The gateway's numbers for Prometheus, and the page of the whole server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Generic, TypeAlias, TypeVar, cast

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from actors.telemetry.metrics import SECONDS, Family, Kind, Sample, counter, gauge, merged
from domain.ground.fixes import Doubt

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# A method is the client's to choose, and each label's value takes memory for ever.
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

# What every other part of the server tells of itself, by its actor's name; None: it did not answer in time.
Others: TypeAlias = Callable[[], Awaitable[dict[str, list[Family] | None]]]


class Traffic:
    """Frames of all sockets since the start, as plain numbers: these change with every single frame. `doubts`: how many
    positions were not believed, by reason."""

    __slots__ = ("doubts", "frames_in", "frames_out", "pings")

    def __init__(self) -> None:
        self.frames_in = self.frames_out = self.pings = 0
        self.doubts = dict.fromkeys(Doubt, 0)

    def doubted(self, gateway_id: str) -> Family:
        """Positions that were not believed, for the metrics page."""
        rows = [({"gateway": gateway_id, "reason": reason}, float(n)) for reason, n in self.doubts.items()]
        return counter("doorstep_positions_doubted", "Positions that were not believed, by reason", *rows)


M = TypeVar("M", Counter, Histogram)


class _ByLabels(Generic[M]):
    """A metric's series by their labels, as `labels` of the metric itself gives them, without its lock and its making
    text of each."""

    def __init__(self, metric: M) -> None:
        self._metric: M = metric
        self._series: dict[tuple[str, ...], M] = {}

    def labels(self, *values: str) -> M:
        known = self._series.get(values)
        if known is not None:
            return known
        series: M = self._metric.labels(*values)
        self._series[values] = series
        return series


class Metrics:
    """Labels are route templates, statuses, actions and codes only: their number is bounded."""

    def __init__(self, gateway_id: str = "gateway:0") -> None:
        self._gateway_id = gateway_id
        self._sources: list[Callable[[], list[Family]]] = []
        # Otherwise there is a second series for each, which says when the first began.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self.requests = _ByLabels(
            Counter(
                "doorstep_http_requests",
                "HTTP requests answered",
                ("method", "route", "status"),
                registry=self.registry,
            )
        )
        self.request_s = _ByLabels(
            Histogram(
                "doorstep_http_request_seconds",
                "Time to answer",
                ("route",),
                buckets=SECONDS,
                registry=self.registry,
            )
        )
        self.decision_s = _ByLabels(
            Histogram(
                "doorstep_decision_seconds",
                "From a request's arrival at a decider's door to its durable answer",
                ("action",),
                buckets=SECONDS,
                registry=self.registry,
            )
        )
        self.decisions = _ByLabels(
            Counter(
                "doorstep_decisions",
                "Decisions by what came of them",
                ("action", "outcome"),
                registry=self.registry,
            )
        )
        self.closes = Counter(
            "doorstep_ws_closes", "Sockets that the server closed, by code", ("code",), registry=self.registry
        )
        self.traffic = traffic = Traffic()
        self.count("doorstep_ws_frames_in", "Frames from drivers", lambda: traffic.frames_in)
        self.count("doorstep_ws_frames_out", "Frames to drivers", lambda: traffic.frames_out)
        self.count("doorstep_pings", "Positions from drivers' sockets", lambda: traffic.pings)
        self.add(lambda: [traffic.doubted(gateway_id)])
        self.rate_limited = Counter(
            "doorstep_rate_limited", "Requests refused for their number", ("rule",), registry=self.registry
        )
        self.rate_limit_asks = Counter(
            "doorstep_rate_limit_asks", "Questions to the shared counts", ("outcome",), registry=self.registry
        )
        self.vendor_calls = Counter(
            "doorstep_vendor_calls", "Calls to vendors", ("port", "outcome"), registry=self.registry
        )

    def gauge(self, name: str, help_: str, read: Callable[[], float]) -> None:
        """A number that is read when the page is asked for."""
        Gauge(name, help_, registry=self.registry).set_function(read)

    def count(self, name: str, help_: str, read: Callable[[], float]) -> None:
        """A number that only rises, read when the page is asked for."""
        self.registry.register(_Count(name, help_, read))

    def add(self, source: Callable[[], list[Family]]) -> None:
        """Families that somebody else keeps, read when the page is asked for."""
        self._sources.append(source)

    def figures(self) -> list[Family]:
        """The gateway's own families, each sample labelled with the gateway."""
        own = {"gateway": self._gateway_id}
        families = [
            Family(
                metric.name,
                cast(Kind, metric.type),
                metric.documentation,
                tuple(
                    Sample(sample.name.removeprefix(metric.name), {**own, **sample.labels}, sample.value)
                    for sample in metric.samples
                ),
            )
            for metric in self.registry.collect()
        ]
        return families + [family for source in self._sources for family in source()]


class _Count(Collector):
    def __init__(self, name: str, help_: str, read: Callable[[], float]) -> None:
        self._name, self._help, self._read = name, help_, read

    def collect(self) -> Iterator[CounterMetricFamily]:
        yield CounterMetricFamily(self._name, self._help, self._read())


class _Given(Collector):
    def __init__(self, families: Iterable[Family]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        for family in merged(self._families):
            metric = Metric(family.name, family.help, family.kind)
            for suffix, labels, value in family.samples:
                metric.add_sample(family.name + suffix, dict(labels), value)
            yield metric


def page(families: Iterable[Family]) -> bytes:
    """The page in Prometheus' text format. Takes some 5 us a line: not on the loop that serves sockets."""
    registry = CollectorRegistry()
    registry.register(_Given(families))
    return generate_latest(registry)


def whole(own_id: str, own: list[Family], others: dict[str, list[Family] | None]) -> list[Family]:
    """This gateway's families and everybody's, and who answered."""
    up = [
        ({"part": own_id}, 1.0),
        *(({"part": name}, float(some is not None)) for name, some in others.items()),
    ]
    answered = [family for some in others.values() if some is not None for family in some]
    return [gauge("doorstep_up", "1 for a part of the server that answered in time", *up), *own, *answered]
