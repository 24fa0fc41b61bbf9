"""Who a request belongs to on its way through the actors: its id for log lines, and a trace when tracing is on.

The context travels beside the messages, never in them: `Carried` wraps a message between two processes and is taken off
before the message reaches a decider, so decisions, recorded logs and fingerprints know nothing of it. Pings carry none.

Spans are made when what they tell of is over (`took`), as direct children of the request's span. Without an endpoint
nothing of OpenTelemetry is imported, and what is left is one empty string for each request.
Trace context: W3C, https://www.w3.org/TR/trace-context/ (`traceparent`).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from msgspec import Struct

from actors.config import Config

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
    from opentelemetry.trace import Span, Tracer

EXPORT_EVERY_MS = 1_000
EXPORT_TIMEOUT_S = 5.0
SPANS_WAITING_LIMIT = 4_096  # more are dropped: a slow collector must not fill the memory
TRACES_PATH = "/v1/traces"  # OTLP/HTTP

Attribute: TypeAlias = str | int | float | bool


class Origin(NamedTuple):
    """The request that something is done for. `traceparent` is empty unless it is traced."""

    request_id: str
    traceparent: str = ""

    @property
    def trace_id(self) -> str:
        return self.traceparent[3:35]


Origins: TypeAlias = tuple[Origin, ...]  # of what was put together: several requests may share one append


class Carried(Struct, frozen=True):
    """A message or command on its way to another actor, with the requests it is for. `since_ns`: when it set out."""

    item: Any
    origins: Origins
    since_ns: int


_here: ContextVar[Origins] = ContextVar("origins", default=())


def here() -> Origins:
    """The requests that this task works for."""
    return _here.get()


@contextmanager
def on_behalf_of(origins: Origins) -> Iterator[None]:
    """Work for these requests."""
    token = _here.set(origins)
    try:
        yield
    finally:
        _here.reset(token)


def carried(item: Any) -> Any:
    """The item with what this task works for, or bare when that is nobody in particular."""
    origins = _here.get()
    return Carried(item, origins, time.time_ns()) if origins else item


def opened(item: Any) -> tuple[Any, Origins]:
    """The item itself, and whom it is for."""
    return (item.item, item.origins) if type(item) is Carried else (item, ())


def ids(origins: Sequence[Origin]) -> dict[str, Any]:
    """The fields of a log line: `request_id` and, when traced, `trace_id`; lists where there are several."""
    if not origins:
        return {}
    requests = [origin.request_id for origin in origins]
    traces = [origin.trace_id for origin in origins if origin.traceparent]
    fields: dict[str, Any] = {"request_id": requests[0] if len(requests) == 1 else requests}
    if traces:
        fields["trace_id"] = traces[0] if len(traces) == 1 else traces
    return fields


# -- spans ------------------------------------------------------------------------------------------------------------

_tracer: Tracer | None = None
_provider: TracerProvider | None = None


def configure(config: Config, part: str) -> None:
    """Trace this process if the configuration names a receiver; `part` is the actor's name, such as `gateway:0`."""
    if config.otlp_endpoint is None:
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    address = config.otlp_endpoint.rstrip("/") + TRACES_PATH
    processor = BatchSpanProcessor(
        OTLPSpanExporter(address, timeout=EXPORT_TIMEOUT_S),
        max_queue_size=SPANS_WAITING_LIMIT,
        schedule_delay_millis=EXPORT_EVERY_MS,
    )
    start(part, processor, config.trace_sample)


def start(part: str, processor: SpanProcessor, share: float = 1.0) -> None:
    """Trace this share (0 to 1) of the requests that begin here, by trace id, whatever a client asks for."""
    global _provider, _tracer
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

    kind = part.partition(":")[0]
    resource = Resource.create({"service.name": f"doorstep-{kind}", "service.instance.id": part})
    _provider = TracerProvider(sampler=TraceIdRatioBased(share), resource=resource, shutdown_on_exit=False)
    _provider.add_span_processor(processor)
    _tracer = _provider.get_tracer("doorstep")


def stop() -> None:
    """Hand out what waits, within the export's time-out, and trace no more. Blocks."""
    global _provider, _tracer
    provider, _provider, _tracer = _provider, None, None
    if provider is not None:
        provider.shutdown()


class Root:
    """A request's span; `origin` goes with whatever is done for it. Without tracing it holds nothing else."""

    __slots__ = ("_span", "origin")

    def __init__(self, request_id: str, name: str, traceparent: str = "", *, traced: bool = True) -> None:
        """`traceparent`: of the client, if it sent one. Anything else is taken for none."""
        self._span = _begun(name, traceparent) if traced and _tracer is not None else None
        self.origin = Origin(request_id, _traceparent(self._span) if self._span is not None else "")

    def end(self, name: str | None = None, *, failed: bool = False, **attributes: Attribute) -> None:
        """The request is answered; by now its route may have given it a better name."""
        span = self._span
        if span is None:
            return
        from opentelemetry.trace import StatusCode

        if name is not None:
            span.update_name(name)
        span.set_attributes({"doorstep.request_id": self.origin.request_id, **attributes})
        if failed:
            span.set_status(StatusCode.ERROR)
        span.end()


def took(name: str, origins: Iterable[Origin], seconds: float, **attributes: Attribute) -> None:
    """Something that was done for these requests is over and has lasted so long."""
    if _tracer is None:
        return
    end_ns = time.time_ns()
    for origin in origins:
        if origin.traceparent:
            span = _tracer.start_span(
                name,
                context=_context(origin.traceparent),
                start_time=end_ns - round(seconds * 1e9),
                attributes=attributes,
            )
            span.end(end_ns)


def since(name: str, start_ns: int, origins: Iterable[Origin], **attributes: Attribute) -> None:
    """As `took`, of what began at this wall time in nanoseconds, perhaps in another process."""
    if _tracer is not None:
        took(name, origins, max(0, time.time_ns() - start_ns) / 1e9, **attributes)


def _context(traceparent: str) -> Any:
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract({"traceparent": traceparent})


def _begun(name: str, traceparent: str) -> Span | None:
    """A span, None where this trace is not sampled."""
    from opentelemetry.trace import SpanKind

    assert _tracer is not None
    span = _tracer.start_span(name, context=_context(traceparent), kind=SpanKind.SERVER)
    return span if span.is_recording() else None


def _traceparent(span: Span) -> str:
    context = span.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
