"""Two live actors for one market: only the one with the newest epoch can change anything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from actors.wire import POST
from domain.orders.lifecycle import Role
from domain.region.messages import Ask, Cancel
from sim.demo.api import Account
from tests.integration.live import LiveServer, Town, until

pytestmark = [pytest.mark.integration, pytest.mark.cluster]


@pytest.fixture
async def cluster(server: LiveServer) -> AsyncIterator[None]:
    """This process as one more client of the server's Ray cluster."""
    from doorstep.cluster.bootstrapper import client_of

    async with client_of(server.folder, "doorstep"):
        yield


async def test_a_stale_region_is_fenced_and_changes_nothing(
    server: LiveServer, cluster: None, town: Town
) -> None:
    import ray

    from actors.remote import RegionActor, as_actor

    driver = await town.driver()
    order_id = await town.order()
    task = await driver.accept(await driver.offer())
    operator = await server.operator(town.api)
    first = await _epoch(town, operator)

    # A second actor of the same market takes the next epoch: the region that serves is stale now and does not know it.
    twin: Any = as_actor(RegionActor).options(name="twin", num_cpus=0, max_restarts=0).remote("tx-dfw")
    await twin.started.remote()
    assert (await twin.stats.remote())["epoch"] == first + 1
    pids = server.pids("region")
    assert len(pids) == 2

    # Its next append is fenced: it dies, comes back with an epoch of its own, and the driver gets an answer from there.
    await driver.to_the_door(task)
    assert await town.status(order_id) == "AT_DOOR"
    assert await _epoch(town, operator) == first + 2
    assert len(server.pids("region") - pids) == 1

    # Now the twin is the stale one. It still believes that the order can be cancelled.
    ask = Ask(
        scope="twin", key="1", fingerprint="", role=Role.DISPATCHER, principal_id=driver.account.user_id,
        action=Cancel(order_id),
    )  # fmt: skip
    before = await town.dossier_types(order_id)
    with pytest.raises(ray.exceptions.RayActorError):
        await asyncio.wait_for(twin.post.remote(POST.encode([ask])), 20)
    assert await town.dossier_types(order_id) == before
    assert await town.status(order_id) == "AT_DOOR"
    assert await _epoch(town, operator) == first + 2


async def _epoch(town: Town, operator: Account) -> int:
    async def epoch() -> int | None:
        reply = await town.api.request("GET", "/v1/regions/tx-dfw/stats", account=operator)
        return int(reply.body["epoch"]) if reply.ok else None

    return await until(epoch)
