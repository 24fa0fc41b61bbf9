"""One request's way through the actors: spans of one trace, ids on log lines, and nothing of it in what is decided."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from structlog.testing import capture_logs

from actors.config import Limits
from actors.persistence.carriers.registry import carriers
from actors.persistence.relay import Relay
from actors.persistence.shell import PersistenceShell
from actors.remote import Handles, RemoteStore
from actors.telemetry import tracing
from actors.telemetry.tracing import Carried, Origin, Root, carried, ids, on_behalf_of, opened
from domain.orders.commands import CancelOrder
from domain.orders.lifecycle import OfferStatus, Role
from domain.orders.records import Answer, RegionRecords
from domain.region.messages import Accept, Acked, Cancel, Message, Ready
from gateway.deciders.actor_backend import ActorBackend
from tests.support.build import REGION, STORE_AT, ask, attach, command, seen
from tests.support.shells import DEADLINE_S, Bus, HeldStore, Payments, Shell, until
from tests.support.story import put_order

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"  # the example of the W3C's page


class Cluster(Handles):
    """The three kinds of actors in one process, called by name as Ray would. No Ray."""

    def __init__(self) -> None:
        super().__init__("test")
        self.store = HeldStore()
        self.batches: list[tuple[str, str, list[Any]]] = []
        self.region = Shell(self.store)
        # The region's way to the store is the real one, with a call between.
        self.region.shell._store = RemoteStore(self, "persistence:0", Limits().store_call_deadline_s)
        relay = Relay(
            self.store.inner,
            carriers(
                self.store.inner,
                Limits(),
                bus=Bus(),
                payment=Payments(),
                tell_region=_nobody,
                clock=self.region.clock,
            ),
            lease_s=5.0,
        )
        self.persistence = PersistenceShell(self.store, relay, self.region.clock, Limits())
        self.backend = ActorBackend(self.call, (REGION,), Limits(), persistence_actors=1)
        methods: dict[tuple[str, str], Callable[..., Awaitable[Any]]] = {
            (f"region:{REGION}", "post"): self.region.shell.post,
            ("persistence:0", "append"): self.persistence.append,
            ("persistence:0", "open_region"): self.persistence.open_region,
        }
        self._methods = methods

    async def call(self, name: str, method: str, *args: Any) -> Any:
        if isinstance(args[0], list):
            self.batches.append((name, method, list(args[0])))
        return await self._methods[(name, method)](*args)

    async def offered(self) -> str:
        """A driver at the store who has an offer; its id."""
        shell = self.region
        await shell.shell.start()
        await shell.shell.post([attach("ann")])
        shell.shell.seen(seen({"ann": STORE_AT}))
        await shell.shell.post([put_order(self.store.inner, 1, shell.clock.now_ms())])
        shell.clock.forward(0.2)
        await shell.shell.post([Acked("ann", 0)])
        await until(lambda: len(shell.sent) == 1)
        [offer] = [one for one in self.store.inner.offers.values() if one.status is OfferStatus.OFFERED]
        self.batches.clear()
        return offer.offer_id

    async def stop(self) -> None:
        async with asyncio.timeout(DEADLINE_S):
            await self.region.shell.stop()
            await self.backend.close()


async def _nobody(region_id: str, opened: object) -> None: ...


@pytest.fixture
async def cluster() -> Any:
    made = Cluster()
    yield made
    await made.stop()


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    tracing.start("test:0", SimpleSpanProcessor(exporter))
    yield exporter
    tracing.stop()


async def requested(cluster: Cluster, message: Any, request_id: str = "r1", traceparent: str = "") -> Answer:
    """As the gateway does it for one request."""
    root = Root(request_id, "POST /v1/things", traceparent)
    with on_behalf_of((root.origin,)):
        answer = await cluster.backend.ask(REGION, message)
    root.end("POST /v1/things", status=200)
    return answer


def by_name(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in exporter.get_finished_spans()}


# -- spans ------------------------------------------------------------------------------------------------------------


async def test_an_accept_is_one_connected_trace(cluster: Cluster, spans: InMemorySpanExporter) -> None:
    offer_id = await cluster.offered()
    assert (await requested(cluster, ask(Accept(offer_id=offer_id)))).code is None
    found = by_name(spans)
    children = {"collect", "region.step", "region.append", "persistence.transaction"}
    assert found.keys() == children | {"POST /v1/things"}
    root = found["POST /v1/things"]
    assert root.parent is None
    for name in children:
        parent = found[name].parent
        assert parent is not None
        assert (parent.trace_id, parent.span_id) == (root.context.trace_id, root.context.span_id), name
    step, append, commit = (
        found[name] for name in ("region.step", "region.append", "persistence.transaction")
    )
    assert (step.attributes or {})["kind"] == "Ask Accept"
    assert _start(root) <= _start(step) <= _end(step) <= _end(append) <= _end(root)
    assert _start(append) - 1_000_000 <= _start(commit) <= _end(commit) <= _end(append) + 1_000_000


async def test_pushes_belong_to_the_request_that_caused_them(
    cluster: Cluster, spans: InMemorySpanExporter
) -> None:
    await cluster.offered()
    cancel = ask(Cancel("order-1"), who="cara", role=Role.CUSTOMER)
    assert (await requested(cluster, cancel)).code is None
    await until(lambda: "push" in by_name(spans))
    push = by_name(spans)["push"]
    assert push.context.trace_id == by_name(spans)["POST /v1/things"].context.trace_id
    assert (push.attributes or {})["gateway"] == "gateway:0"


async def test_a_client_s_trace_goes_on(cluster: Cluster, spans: InMemorySpanExporter) -> None:
    offer_id = await cluster.offered()
    await requested(cluster, ask(Accept(offer_id=offer_id)), traceparent=PARENT)
    assert {f"{span.context.trace_id:032x}" for span in spans.get_finished_spans()} == {PARENT[3:35]}
    parent = by_name(spans)["POST /v1/things"].parent
    assert parent is not None
    assert f"{parent.span_id:016x}" == PARENT[36:52]


@pytest.mark.parametrize(
    "nonsense", ["", "x", "00-0-0-00", "00-" + "0" * 32 + "-" + "0" * 16 + "-01", "é" * 99]
)
def test_a_traceparent_that_is_none_begins_a_trace(spans: InMemorySpanExporter, nonsense: str) -> None:
    root = Root("r1", "GET /", nonsense)
    root.end()
    [span] = spans.get_finished_spans()
    assert span.parent is None
    assert root.origin.trace_id == f"{span.context.trace_id:032x}"


def test_a_share_is_traced_whatever_clients_ask_for() -> None:
    exporter = InMemorySpanExporter()
    tracing.start("test:0", SimpleSpanProcessor(exporter), share=0.0)
    try:
        root = Root("r1", "GET /", PARENT)
        root.end()
        assert root.origin == Origin("r1")
        tracing.took("region.step", (root.origin,), 1.0)
        assert not exporter.get_finished_spans()
    finally:
        tracing.stop()


async def test_requests_that_share_an_append_each_get_their_spans(
    cluster: Cluster, spans: InMemorySpanExporter
) -> None:
    offer_id = await cluster.offered()
    cluster.store.gate.clear()
    first = asyncio.ensure_future(requested(cluster, ask(Accept(offer_id=offer_id)), "r1"))
    await cluster.store.held_up()
    rows = [
        asyncio.ensure_future(_decided(cluster, n)) for n in (2, 3)
    ]  # two commands of two requests, one transaction behind the first
    await asyncio.sleep(0)
    cluster.store.gate.set()
    await asyncio.gather(first, *rows)
    traces = [
        span.context.trace_id for span in spans.get_finished_spans() if span.name == "persistence.transaction"
    ]
    assert len(traces) == len(set(traces)) == 3


async def _decided(cluster: Cluster, n: int) -> Answer:
    root = Root(f"r{n}", "POST")
    with on_behalf_of((root.origin,)):
        answer = await cluster.backend.decide(command(CancelOrder(), order_id=f"order-{n}", key=f"k{n}"))
    root.end()
    return answer


# -- nothing of it in what is decided ---------------------------------------------------------------------------------


async def test_deciders_and_the_store_see_bare_messages(
    cluster: Cluster, spans: InMemorySpanExporter
) -> None:
    offer_id = await cluster.offered()
    asked = ask(Accept(offer_id=offer_id))
    taken: list[Message] = []
    pump = cluster.region.shell._pump
    assert pump is not None
    step = pump.region.step

    def noted(now_ms: int, message: Message) -> Ready:
        taken.append(message)
        return step(now_ms, message)

    pump.region.step = noted  # type: ignore[method-assign]
    await requested(cluster, asked)
    [(region, _, [on_the_way]), (store, _, [records])] = cluster.batches
    assert (region, store) == (f"region:{REGION}", "persistence:0")
    assert isinstance(on_the_way, Carried)
    assert isinstance(records, Carried)
    assert taken == [asked]
    assert all(isinstance(one, RegionRecords) for one in cluster.store.calls[-1])


async def test_the_same_is_decided_with_and_without(spans: InMemorySpanExporter) -> None:
    decided = []
    for traced in (True, False):
        cluster = Cluster()
        message = ask(Accept(offer_id=await cluster.offered()))
        await (requested(cluster, message) if traced else cluster.backend.ask(REGION, message))
        decided.append(cluster.store.calls)
        await cluster.stop()
    assert decided[0] == decided[1]


async def test_without_tracing_nothing_is_made(cluster: Cluster) -> None:
    offer_id = await cluster.offered()
    root = Root("r1", "POST", PARENT)
    root.end(status=200)
    assert root.origin == Origin("r1", "")
    assert root._span is None
    assert (await cluster.backend.ask(REGION, ask(Accept(offer_id=offer_id)))).code is None
    assert not [item for _, _, batch in cluster.batches for item in batch if isinstance(item, Carried)]


def test_what_is_for_nobody_travels_bare() -> None:
    message = Acked("ann", 1)
    assert carried(message) is message
    assert opened(message) == (message, ())
    with on_behalf_of((Origin("r1"),)):
        assert opened(carried(message)) == (message, (Origin("r1"),))
    assert carried(message) is message


# -- log lines --------------------------------------------------------------------------------------------------------


@pytest.fixture
def talkative() -> Iterator[None]:
    rooms = [logging.getLogger(name) for name in ("actors", "gateway")]
    for room in rooms:
        room.setLevel(logging.DEBUG)
    yield
    for room in rooms:
        room.setLevel(logging.NOTSET)


@pytest.mark.usefixtures("talkative")
async def test_region_and_store_say_whose_request_it_was(
    cluster: Cluster, spans: InMemorySpanExporter
) -> None:
    offer_id = await cluster.offered()
    with capture_logs() as lines:
        await requested(cluster, ask(Accept(offer_id=offer_id)), "req-7")
    root = by_name(spans)["POST /v1/things"]
    mine = {line["event"]: line for line in lines if line.get("request_id") == "req-7"}
    assert mine.keys() == {"region.decided", "persistence.committed"}
    decided = mine["region.decided"]
    assert (decided["region_id"], decided["driver_id"], decided["offer_id"]) == (REGION, "ann", offer_id)
    assert {line["trace_id"] for line in mine.values()} == {f"{root.context.trace_id:032x}"}


async def test_a_failed_append_names_the_requests_that_waited(cluster: Cluster) -> None:
    offer_id = await cluster.offered()
    cluster.store.fail = 1
    with capture_logs() as lines:
        answer = await requested(cluster, ask(Accept(offer_id=offer_id)), "req-8")
    assert answer.code is None, "asked again by the collector, with the same id"
    failed = {line["event"]: line["request_id"] for line in lines if line["event"].endswith("append_failed")}
    assert failed == {"region.append_failed": "req-8", "persistence.append_failed": "req-8"}


def test_ids_of_several() -> None:
    assert ids(()) == {}
    assert ids((Origin("a"),)) == {"request_id": "a"}
    both = (Origin("a"), Origin("b", PARENT))
    assert ids(both) == {"request_id": ["a", "b"], "trace_id": PARENT[3:35]}


def _start(span: ReadableSpan) -> int:
    assert span.start_time is not None
    return span.start_time


def _end(span: ReadableSpan) -> int:
    assert span.end_time is not None
    return span.end_time
