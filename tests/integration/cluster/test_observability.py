"""One request seen from outside a real server: its trace over three processes, its log lines, and the metrics page."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import psutil
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from domain import protocol as wire
from doorstep.embedded.services import Services
from sim.demo.api import Account
from tests.integration.live import SCRAPER, STORE_LAT, STORE_LNG, TITLES, LiveServer, Town, new_key, until

pytestmark = [pytest.mark.integration, pytest.mark.cluster]

ADDRESS, NAME = "77 Quetzal Crescent", "Zebulon Quimby"
SPAN = "b7ad6b7169203331"  # of the client
PROCESSES = ("gateway", "region", "persistence")


class Seen(NamedTuple):
    """A span as it came in."""

    name: str
    part: str
    trace: str
    id: str
    parent: str


class Receiver:
    """The least of an OTLP/HTTP receiver: keeps every span."""

    def __init__(self) -> None:
        spans = self.spans = list[Seen]()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.path == "/v1/traces":
                    spans.extend(_spans(ExportTraceServiceRequest.FromString(body)))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def of(self, trace: str) -> list[Seen]:
        return [span for span in list(self.spans) if span.trace == trace]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _spans(request: ExportTraceServiceRequest) -> Iterator[Seen]:
    for resource in request.resource_spans:
        attributes = {one.key: one.value.string_value for one in resource.resource.attributes}
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield Seen(
                    span.name,
                    attributes["service.instance.id"],
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                )


class Watched(LiveServer):
    """A server whose processes' log lines are read."""

    def log_files(self, process: str) -> list[Path]:
        """Where the actors of this kind write their standard errors."""
        assert self._process is not None
        files = []
        for child in psutil.Process(self._process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error, OSError, IndexError):
                if child.cmdline()[0].startswith(TITLES[process]):
                    files.append(Path(os.readlink(f"/proc/{child.pid}/fd/2")))
        assert files
        return files

    def lines(self, process: str) -> list[dict[str, Any]]:
        texts = [text for file in self.log_files(process) for text in file.read_text().splitlines()]
        return [json.loads(text) for text in texts if text.startswith("{")]


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture(scope="module")
def watched(embedded_services: Services, database_url: str, receiver: Receiver) -> Iterator[Watched]:
    """A server of this module's own of two gateways, that traces and says everything."""
    folder = Path(tempfile.mkdtemp(prefix="doorstep-watched-"))
    server = Watched(
        folder,
        DATABASE_URL=database_url,
        REDIS_URL=embedded_services.redis_url,
        OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
        TRACE_SAMPLE="1",
        GATEWAYS="2",
        LOG_LEVEL="DEBUG",
    )
    try:
        server.start()
        yield server
        assert server.stop() == 0, server.log()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Placed(NamedTuple):
    town: Town
    customer: Account
    order_id: str
    request_id: str
    trace_id: str


@pytest.fixture
async def placed(watched: Watched) -> Any:
    """An order of a customer with a name and an address, created by one request that has an id and a trace."""
    town = await Town.found(watched.url)
    account = Account(
        email=f"zebulon.{new_key()}@example.org", password="correct horse battery", role="customer", name=NAME
    )
    town.customer = await town.api.sign_in(account)
    body = {
        "store_id": town.store_id,
        "items": [{"product_id": town.product_id, "quantity": 1}],
        "dropoff": {"lat": STORE_LAT + 0.03, "lng": STORE_LNG + 0.02, "address": ADDRESS},
    }
    request_id, trace_id = f"req-{new_key()}", new_key()
    headers = {
        "Authorization": f"Bearer {account.token}",
        "X-Request-Id": request_id,
        "traceparent": f"00-{trace_id}-{SPAN}-01",
        "Idempotency-Key": new_key(),
    }
    async with httpx.AsyncClient(base_url=watched.url, trust_env=False) as http:
        response = await http.post("/v1/orders", json=body, headers=headers)
    assert response.status_code == 201, response.text
    order_id = response.json()["id"]
    town.orders.append(order_id)
    yield Placed(town, account, order_id, request_id, trace_id)
    await town.leave()


async def taken(placed: Placed) -> str:
    """Bring the placed order to a driver's accept; the id of the accept's message."""
    town = placed.town
    for path, body in (
        ("verify_age", {"vendor_token": "fake:pass"}),
        ("payment/authorize", {"vendor_token": "fake:ok"}),
    ):
        assert (await town.post(f"/v1/orders/{placed.order_id}/{path}", town.customer, body)).ok
    driver = await town.driver()
    assert (await town.merchant_does(placed.order_id, "accept")).ok
    offer, key = await driver.offer(), new_key()
    assert isinstance(await driver.ask(wire.OfferAccept(key, offer.offer_id)), wire.OfferAccepted)
    return key


async def test_an_order_s_creation_can_be_followed_through_two_processes(
    watched: Watched, placed: Placed
) -> None:
    def of(process: str) -> dict[str, dict[str, Any]]:
        return {
            line["event"]: line
            for line in watched.lines(process)
            if line.get("request_id") == placed.request_id
        }

    gateway, persistence = of("gateway"), of("persistence")
    assert gateway.keys() == {"decided", "request"}
    assert gateway["request"]["route"] == "/v1/orders"
    assert gateway["request"]["status"] == 201
    committed = persistence["persistence.committed"]
    assert (committed["kind"], committed["outcome"]) == ("CreateOrder", "done")
    assert gateway["decided"]["order_id"] == committed["order_id"] == placed.order_id
    assert {line["trace_id"] for line in (*gateway.values(), committed)} == {placed.trace_id}


async def test_an_accept_is_one_trace_over_three_processes(
    watched: Watched, receiver: Receiver, placed: Placed
) -> None:
    key = await taken(placed)
    decided = [line for line in watched.lines("region") if line.get("request_id") == key]
    [line] = [line for line in decided if line["event"] == "region.decided"]
    children = {"collect", "region.step", "region.append", "persistence.transaction"}

    async def complete() -> list[Seen] | None:
        spans = receiver.of(line["trace_id"])
        return spans if {span.name for span in spans} >= children | {"ws OfferAccept"} else None

    spans = await until(complete)
    [root] = [span for span in spans if span.name == "ws OfferAccept"]
    assert root.parent == ""
    assert {span.parent for span in spans if span is not root} == {root.id}
    assert root.part in ("gateway:0", "gateway:1")
    assert {span.part for span in spans} == {root.part, "region:tx-dfw", "persistence:0"}
    [commit] = [span for span in spans if span.name == "persistence.transaction"]
    assert commit.part == "persistence:0"
    rest = receiver.of(placed.trace_id)  # of the order's creation: the client's trace goes on
    [created] = [span for span in rest if span.name == "POST /v1/orders"]
    assert created.parent == SPAN


async def test_no_log_line_tells_who_somebody_is(watched: Watched, placed: Placed) -> None:
    await taken(placed)
    private = (
        ADDRESS,
        NAME,
        placed.customer.email,
        placed.customer.token,
        placed.town.merchant.email,
        "Elm St",
    )
    files = list(watched.log_files("gateway")[0].parent.glob("*"))
    texts = {path.name: path.read_text(errors="replace") for path in files if path.is_file()}
    assert sum(placed.order_id in text for text in texts.values()) >= 2, "the order is there by its id"
    assert '"event": "region.decided"' in watched.log_files("region")[0].read_text()
    found = [(name, what) for name, text in texts.items() for what in private if what in text]
    assert not found


PINGS = re.compile(r'^doorstep_pings_total{gateway="([^"]*)"} (\S+)$', re.MULTILINE)


async def test_whichever_gateway_is_asked_the_sums_are_the_same(watched: Watched, placed: Placed) -> None:
    async def pings(scope: str) -> dict[str, float]:
        # A connection of its own each time: the kernel deals them out.
        async with httpx.AsyncClient(base_url=watched.url, trust_env=False) as http:
            page = (await http.get("/metrics", params={"scope": scope}, headers=SCRAPER)).text
        return {gateway: float(value) for gateway, value in PINGS.findall(page)}

    before = sum((await pings("all")).values())
    driver = await placed.town.driver()
    for seq in range(5):
        await driver.send(wire.Location(driver.lat, driver.lng, datetime.now(UTC), seq))

    async def arrived() -> bool:
        return sum((await pings("all")).values()) == before + 5

    await until(arrived)
    asked, sums = set[str](), set[float]()

    async def both_were_asked() -> bool:
        asked.update(await pings("own"))
        everybody = await pings("all")
        assert everybody.keys() == {"gateway:0", "gateway:1"}
        sums.add(sum(everybody.values()))
        return len(asked) == 2

    await until(both_were_asked)
    assert sums == {before + 5}


async def test_the_page_tells_of_every_part_and_ray_has_the_same(watched: Watched, placed: Placed) -> None:
    await taken(placed)
    async with httpx.AsyncClient(trust_env=False) as http:
        page = (await http.get(f"{watched.url}/metrics", headers=SCRAPER)).text
        for part in ("gateway:0", "gateway:1", "region:tx-dfw", "persistence:0"):
            assert f'doorstep_up{{part="{part}"}} 1.0' in page
            assert f'doorstep_process_resident_bytes{{part="{part}"}}' in page
        assert 'doorstep_offers_total{outcome="accepted",region="tx-dfw"}' in page
        assert 'doorstep_persistence_commands_total{outcome="done",persistence="persistence:0"}' in page
        for wanted in (
            "doorstep_database_bytes",
            "doorstep_disk_free_bytes",
            'doorstep_outbox_rows{channel="bus"',
        ):
            [line] = [line for line in page.splitlines() if line.startswith(wanted)]
            assert float(line.rsplit(" ", 1)[1]) >= (0 if "outbox" in wanted else 1)
        # Ray's list of metric ports lies in the session's folder, beside the folder of logs.
        session = watched.log_files("region")[0].parents[1]

        async def exported() -> str | None:
            try:
                listed = json.loads((session / "prom_metrics_service_discovery.json").read_text())
                texts = [
                    (await http.get(f"http://{target}/metrics")).text
                    for group in listed
                    for target in group["targets"]
                ]
            except (OSError, ValueError, httpx.HTTPError):
                await asyncio.sleep(0.5)  # not written yet: Ray looks round every few seconds
                return None
            text = "\n".join(texts)
            parts = ("region_step_seconds_bucket", "persistence_append_seconds_bucket", "ws_sockets")
            return text if all(f"ray_doorstep_{name}{{" in text for name in parts) else None

        text = await until(exported, deadline_s=60)
        for kind in PROCESSES:
            assert f'part="{kind}:' in text
