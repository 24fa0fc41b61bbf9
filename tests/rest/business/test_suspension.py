"""A merchant is suspended while its orders are under way: what is not fetched yet is called off."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from actors.config import Limits
from actors.persistence.carriers.regions import CALL_OFF, UNKNOWN_TRIES, ToRegions, of_regions
from domain.orders.lifecycle import Role
from domain.ports import Channel
from tests.rest.business.test_merchants import Desk
from tests.support.database import server_url
from tests.support.gateway_world import DALLAS, World, on_postgres

pytestmark = pytest.mark.integration


def _carrier(world: World) -> ToRegions:
    async def tell(region_id: str, messages: list[Any]) -> Sequence[Any]:
        return await world.backend.regions[region_id].post(messages)

    return ToRegions(tell, of_regions(Limits()))


async def _until(who: Desk, path: str, holds: Callable[[Any], object]) -> None:
    async with asyncio.timeout(20):
        while True:
            if holds((await who.ask("GET", path))[1]):
                return
            await asyncio.sleep(0.02)


async def _handed_on(world: World) -> set[str]:
    """Give the region what the outbox has for it, as the relay does; what it refused."""
    store = world.backend.store
    events = await store.outbox_batch(Channel.TASKS, 100)
    refused = await _carrier(world).carry(events)
    await store.outbox_done([event.event_id for event in events if event.event_id not in refused])
    return {one.reason for one in refused.values()}


async def test_what_is_not_fetched_yet_is_called_off(fresh_database_url: str) -> None:
    async with on_postgres(server_url(fresh_database_url)) as world:
        driver_id, headers = await world.account(Role.DRIVER)
        driver = Desk(world, headers)
        order = await world.order("CONFIRMED")
        other = await world.order("CONFIRMED")
        await driver.ask("POST", f"/v1/drivers/{driver_id}/duty", {"on": True, **DALLAS})
        await _until(driver, f"/v1/drivers/{driver_id}/task", lambda work: work["offers"])
        await _handed_on(world)  # the tasks that were opened, which the region knows already
        dispatcher_id, dispatcher = await world.account(Role.DISPATCHER)
        path = f"/v1/admin/merchants/{order.merchant_id}/suspend"
        assert (await Desk(world, dispatcher).ask("POST", path, {"reason": "COMPLAINTS"}, 2))[0] == 200
        [call_off] = await world.backend.store.outbox_batch(Channel.TASKS, 100)
        assert (call_off.topic, call_off.aggregate_id) == (CALL_OFF, order.id)
        assert await _handed_on(world) == set()
        customer = Desk(world, order.customer)
        await _until(customer, f"/v1/orders/{order.id}", lambda told: told["status"] == "CANCELLED")
        last = (await world.services.reads.dossier(order.id))[-1]
        assert (last.actor, last.payload["reason"]) == (f"dispatcher:{dispatcher_id}", "STORE_TROUBLE")
        offered = (await driver.ask("GET", f"/v1/drivers/{driver_id}/task"))[1]["offers"]
        assert order.id not in {task["order_id"] for offer in offered for task in offer["tasks"]}
        kept = await world.services.reads.order(other.id)
        assert kept is not None
        assert kept.status == "CONFIRMED"
        # Handed on once more, it is over: the region knows it no more, which is believed after some tries.
        for attempts, refused in ((0, {"NOT_FOUND"}), (UNKNOWN_TRIES - 1, set())):
            again = replace(call_off, event_id=-1 - attempts, attempts=attempts)
            assert {one.reason for one in (await _carrier(world).carry([again])).values()} == refused
