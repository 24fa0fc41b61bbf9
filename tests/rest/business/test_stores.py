"""What a merchant says of a store, and which orders it takes then. Authority, keys and versions are the matrix's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import h3
import pytest

from domain.ground.times import instant
from domain.marketplace.party import Job
from domain.orders.lifecycle import Role
from tests.rest.business.test_merchants import Desk
from tests.support.database import server_url
from tests.support.gateway_world import DALLAS, DOOR, REGION, World, on_postgres

pytestmark = pytest.mark.integration


@pytest.fixture
async def world(fresh_database_url: str) -> AsyncIterator[World]:
    async with on_postgres(server_url(fresh_database_url)) as made:
        yield made


async def test_which_orders_a_store_takes(world: World) -> None:
    merchant_id, store_id, product_id, headers = await world.shop()
    owner, path = Desk(world, headers), f"/v1/stores/{store_id}"
    clerk = Desk(world, await world.colleague(merchant_id, Job.CLERK))
    customer = Desk(world, (await world.account(Role.CUSTOMER))[1])
    basket = {
        "store_id": store_id,
        "items": [{"product_id": product_id, "quantity": 1}],
        "dropoff": DOOR,
    }

    async def order() -> str | None:
        status, told = await customer.ask("POST", "/v1/orders", basket)
        return None if status == 201 else str(told)

    async def change(version: int, **body: Any) -> tuple[int, Any]:
        return await owner.ask("PATCH", path, body, version)

    async def is_open() -> bool:
        return bool((await customer.ask("GET", path))[1]["open"])

    assert await order() is None
    # Busy for a while: anybody who works there says so, and who does not, not.
    now = instant(world.services.config.clock.now_ms())
    until = {"until": (now + timedelta(hours=1)).isoformat()}
    assert (await clerk.ask("POST", f"{path}/pause", until))[0] == 200
    assert (await order(), await is_open()) == ("STORE_PAUSED", False)
    assert (await clerk.ask("POST", f"{path}/resume"))[1]["paused_until"] is None
    assert (await order(), await is_open()) == (None, True)
    for wrong in (now - timedelta(minutes=1), now + timedelta(days=8)):
        answer = await clerk.ask("POST", f"{path}/pause", {"until": wrong.isoformat()})
        assert answer == (422, "INVALID_REQUEST")
    # Today is a holiday.
    today = now.astimezone(ZoneInfo("America/Chicago")).date().isoformat()
    assert (await change(3, holidays=[{"day": today}]))[0] == 200
    assert (await order(), await is_open()) == ("STORE_CLOSED", False)
    _, store = await change(4, holidays=[])
    assert (store["holidays"], store["version"], await order()) == ([], 5, None)
    # It delivers to its own street, and to no other.
    own, other = h3.latlng_to_cell(*DALLAS.values(), 10), h3.latlng_to_cell(DOOR["lat"], DOOR["lng"], 10)
    assert await change(5, zone={"cells": [other]}) == (422, "INVALID_REQUEST")
    assert (await change(5, zone={"cells": [own]}))[0] == 200
    assert await order() == "OUTSIDE_DELIVERY_AREA"
    assert (await change(6, zone={"cells": [own, other]}))[1]["zone"] == {
        "outline": [],
        "cells": [own, other],
    }
    assert await order() is None
    assert (await change(7, zone=None, name="Corner 2"))[1]["zone"] is None
    # For good.
    assert await clerk.ask("POST", f"{path}/close", None, 8) == (403, "FORBIDDEN")
    assert (await owner.ask("POST", f"{path}/close", None, 8))[1]["open"] is False
    assert await order() == "STORE_CLOSED"
    assert await change(9, name="Corner") == (409, "WRONG_STATE")
    assert (await customer.ask("GET", f"/v1/stores?region_id={REGION}"))[1] == []
    listed = (await owner.ask("GET", f"/v1/merchants/{merchant_id}/stores"))[1]
    assert [(one["name"], one["closed_at"] is None) for one in listed] == [("Corner 2", False)]


async def test_how_long_packing_takes_where_nobody_says_more(world: World) -> None:
    order = await world.order("PAYMENT_AUTHORIZED")
    owner = Desk(world, order.merchant)
    assert (await owner.ask("PATCH", f"/v1/stores/{order.store_id}", {"prep_minutes": 25}, 1))[0] == 200
    began_ms = world.services.config.clock.now_ms()
    assert (await world.act(order, "accept")).status_code == 200
    row = await world.services.reads.order(order.id)
    assert row is not None
    assert row.ready_ms is not None
    assert 25 * 60_000 <= row.ready_ms - began_ms < 26 * 60_000


@pytest.mark.parametrize(
    "body",
    [
        {"name": None},
        {"holidays": None},
        {"holidays": [{"day": "2026-02-30"}]},
        {"holidays": [{"day": "2026-12-25"}, {"day": "2026-12-25"}]},
        {"holidays": [{"day": "2026-12-25", "openings": [{"opens_min": 600, "closes_min": 500}]}]},
        {"zone": {}},
        {"zone": {"outline": [[32, -97], [33, -97]]}},
        {"zone": {"cells": ["8928308280fffff"], "outline": [[32, -97], [33, -97], [33, -96]]}},
        {"zone": {"cells": ["ffffffffffffffff"]}},
        {"prep_minutes": -1},
        {"prep_minutes": 1441},
        {"lat": 32.0},
    ],
)
async def test_what_is_refused(world: World, body: dict[str, Any]) -> None:
    _, store_id, _, headers = await world.shop()
    answer = await Desk(world, headers).ask("PATCH", f"/v1/stores/{store_id}", body, 1)
    assert answer == (422, "INVALID_REQUEST")
