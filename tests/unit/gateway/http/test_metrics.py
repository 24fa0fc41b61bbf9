"""The metrics page: the whole server from any gateway, and a bounded number of lines."""

from __future__ import annotations

import re
from collections.abc import Iterable

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from actors.telemetry.metrics import Family, Histogram, counter, gauge, histogram
from gateway.http.metrics import Metrics, page, whole
from tests.support.gateway_world import SCRAPER, World, until

# No label may hold what grows with drivers, orders or requests.
LABELS = {
    *(
        "action",
        "channel",
        "code",
        "gateway",
        "kind",
        "phase",
        "le",
        "method",
        "outcome",
        "part",
        "persistence",
    ),
    *("port", "reason", "region", "route", "rule", "status", "target"),
}
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-|@")


def samples(text: str | bytes) -> list[Sample]:
    """The lines of a page, read as Prometheus reads them."""
    text = text.decode() if isinstance(text, bytes) else text
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


def value(some: Iterable[Sample], name: str, **labels: str) -> float:
    """The sum of all samples of this name that have these labels."""
    return sum(one.value for one in some if one.name == name and labels.items() <= one.labels.items())


async def fetch(world: World, **query: str) -> list[Sample]:
    response = await world.http.get("/metrics", params=query, headers=SCRAPER)
    assert response.status_code == 200
    return samples(response.text)


# -- several gateways -------------------------------------------------------------------------------------------------


async def test_any_gateway_tells_of_all(world: World) -> None:
    """Behind one port a scrape reaches any of them: what it sums up must not depend on which."""
    other = Metrics("gateway:1")
    other.traffic.pings = 40
    world.services.metrics.traffic.pings = 2

    async def others() -> dict[str, list[Family] | None]:
        region = world.backend.regions["tx-dfw"].figures()
        return {"gateway:1": other.figures(), "region:tx-dfw": region, "persistence:0": None}

    world.services.others = others
    page = await fetch(world)
    assert value(page, "doorstep_pings_total") == 42
    assert value(page, "doorstep_pings_total", gateway="gateway:1") == 40
    up = {one.labels["part"]: one.value for one in page if one.name == "doorstep_up"}
    assert up == {"gateway:0": 1, "gateway:1": 1, "region:tx-dfw": 1, "persistence:0": 0}
    assert value(page, "doorstep_region_serving", region="tx-dfw") == 1
    own = await fetch(world, scope="own")
    assert value(own, "doorstep_pings_total") == 2
    assert not [one for one in own if one.name.startswith(("doorstep_up", "doorstep_region"))]


async def test_an_unknown_scope_is_refused(world: World) -> None:
    assert (await world.http.get("/metrics", params={"scope": "some"}, headers=SCRAPER)).status_code == 422


def test_one_family_for_each_name_with_everybodys_samples() -> None:
    """Prometheus wants all lines of one name together."""
    seconds = Histogram()
    seconds.add(0.2)
    seconds.add(99.0)
    here = [
        counter("doorstep_x", "X", ({"gateway": "gateway:0"}, 1)),
        histogram("doorstep_y_seconds", "Y", ({}, seconds)),
    ]
    there = [gauge("doorstep_z", "Z", ({}, 3)), counter("doorstep_x", "X", ({"gateway": "gateway:1"}, 2))]
    text = page(whole("gateway:0", here, {"gateway:1": there})).decode()
    assert text.count("# TYPE doorstep_x_total counter") == 1
    page_samples = samples(text)
    assert value(page_samples, "doorstep_x_total") == 3
    assert value(page_samples, "doorstep_y_seconds_bucket", le="0.1") == 0
    assert value(page_samples, "doorstep_y_seconds_bucket", le="0.25") == 1
    assert value(page_samples, "doorstep_y_seconds_bucket", le="+Inf") == 2
    assert value(page_samples, "doorstep_y_seconds_sum") == 99.2


# -- what is counted --------------------------------------------------------------------------------------------------


async def test_an_order_from_offer_to_accept_leaves_its_traces(world: World) -> None:
    _, client = await world.driver()
    with_others(world)
    await world.order("CONFIRMED")
    offer = await client.receive("offer")
    await client.send({"type": "offer.accept", "id": "a1", "offer_id": offer["offer_id"]})
    assert (await client.receive("offer.accepted"))["in_reply_to"] == "a1"
    await client.send(
        {"type": "offer.accept", "id": "a2", "offer_id": "00000000-0000-4000-8000-000000000000"}
    )
    await client.receive("error")
    page = await fetch(world)
    assert value(page, "doorstep_offers_total", outcome="made") == 1
    assert value(page, "doorstep_offers_total", outcome="accepted") == 1
    assert value(page, "doorstep_orders_total", outcome="opened") == 1
    assert value(page, "doorstep_offer_wait_seconds_count") == 1
    assert value(page, "doorstep_offer_wait_seconds_bucket", le="5.0") == 1
    assert value(page, "doorstep_offer_answer_seconds_count", outcome="accepted") == 1
    assert value(page, "doorstep_decision_seconds_count", action="Accept") == 2
    assert value(page, "doorstep_decisions_total", action="Accept", outcome="done") == 1
    assert value(page, "doorstep_decisions_total", action="CreateOrder", outcome="done") == 1
    assert value(page, "doorstep_region_append_seconds_count") >= 2
    assert value(page, "doorstep_region_append_records_count") == value(
        page, "doorstep_region_append_seconds_count"
    )
    assert value(page, "doorstep_region_solve_seconds_count") >= 1
    assert value(page, "doorstep_ws_sockets") == 1
    await client.close()


async def test_closes_are_counted_by_code(world: World) -> None:
    client = await world.socket()
    await client.send({"type": "hello", "token": "nonsense"})
    while client.closed is None:
        await client.receive()
    await until(lambda: not world.services.open_sockets)
    assert client.closed[0] == 1008
    assert value(await fetch(world), "doorstep_ws_closes_total", code="1008") == 1


async def test_a_new_life_of_a_region_shows(world: World) -> None:
    with_others(world)
    before = value(await fetch(world), "doorstep_region_epoch")
    await world.backend.start_region("tx-dfw")
    page = await fetch(world)
    assert value(page, "doorstep_region_epoch") == before + 1
    await world.backend.regions["tx-dfw"].stop()
    assert value(await fetch(world), "doorstep_region_serving") == 0


# -- bounds -----------------------------------------------------------------------------------------------------------


async def test_lines_do_not_grow_with_drivers_orders_or_strangers(world: World) -> None:
    with_others(world)
    counts: list[int] = []
    for _ in range(2):
        for _ in range(3):
            await world.driver()
            order = await world.order("AGE_VERIFIED")
            await world.http.get(f"/v1/orders/{order.id}", headers=order.customer)
        for n in range(3):
            await world.http.get(f"/v1/nowhere/{n}{len(counts)}")
            await world.http.request(f"BREW{n}{len(counts)}", "/v1/orders")
        await fetch(world)
        page = await fetch(world)
        counts.append(len(page))
    assert counts[0] == counts[1]
    names = {name for one in page for name in one.labels}
    assert names <= LABELS, names - LABELS
    assert not [one for one in page if any(_ID.search(text) for text in one.labels.values())]
    assert value(page, "doorstep_http_requests_total", method="other") == 6
    assert value(page, "doorstep_http_requests_total", route="unmatched", method="GET") == 6


def with_others(world: World) -> None:
    """As the other actors would tell it."""

    async def others() -> dict[str, list[Family] | None]:
        return {f"region:{name}": shell.figures() for name, shell in world.backend.regions.items()}

    world.services.others = others


async def test_positions_are_counted_as_plain_numbers(world: World) -> None:
    """What changes with every frame is a plain number; a lock for each would show in the ingest benchmark."""
    driver_id, client = await world.driver()
    await until(lambda: world.services.pings.last(driver_id))
    before = world.services.metrics.traffic.pings
    for seq in range(1, 4):
        ping = {"type": "location", "lat": 32.78, "lng": -96.8, "at": "2030-01-01T00:00:00Z", "seq": seq}
        await client.send(ping)
    await until(lambda: world.services.metrics.traffic.pings == before + 3)
    page = await fetch(world, scope="own")
    assert value(page, "doorstep_pings_total", gateway="gateway:0") == before + 3
    await client.close()
