"""A server in a Ray cluster of several nodes: a node dies, its regions come back on the other, and nobody has lost
anything. Then the server outlives the command that started it."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from domain.protocol import CLOSE_RESTARTING
from doorstep.embedded.services import Services
from sim.demo.api import Account, Api
from tests.conftest import temporary
from tests.integration.crew import Crew
from tests.integration.live import LiveServer, Town, until
from tests.integration.ray_nodes import RayNodes

pytestmark = [pytest.mark.integration, pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(300)]

BACK_WITHIN_S = 20.0  # on a busy machine; docs/cluster.md has what was measured on a quiet one
DRIVERS = 5
REGIONS = ("tx-dfw", "tx-hou")


@pytest.fixture(scope="module")
def nodes() -> Iterator[RayNodes]:
    nodes = RayNodes()
    try:
        nodes.start(gateway=1, persistence=1)
        for _ in range(2):
            nodes.start(region=1, solver=1)
        yield nodes
    finally:
        nodes.stop()
        shutil.rmtree(nodes.folder, ignore_errors=True)


@pytest.fixture(scope="module")
def joined(nodes: RayNodes, embedded_services: Services, template: str) -> Iterator[LiveServer]:
    """`doorstep up` as one more client of the cluster."""
    folder = Path(tempfile.mkdtemp(prefix="doorstep-joined-"))
    with temporary(embedded_services, template) as database_url:
        server = LiveServer(
            folder,
            DATABASE_URL=database_url,
            REDIS_URL=embedded_services.redis_url,
            REGIONS=",".join(REGIONS),
            OPS_OPEN="true",
            **nodes.token,
        )
        try:
            server.start("--address", nodes.address, "--detach")
            yield server
        finally:
            server.stop()
            shutil.rmtree(folder, ignore_errors=True)


async def test_a_node_dies_and_its_regions_come_back_on_the_other(
    nodes: RayNodes, joined: LiveServer
) -> None:
    lost, kept = nodes.node_of("tx-dfw"), nodes.node_of("tx-hou")
    assert {lost, kept} == {1, 2}, "the regions are not spread over the nodes that carry them"
    assert nodes.workers(0, "ray::GatewayActor")
    assert nodes.workers(0, "ray::PersistenceActor")
    assert lost is not None
    town = await Town.found(joined.url)
    operator = await joined.operator(town.api)
    crew = await Crew.at_work(town, DRIVERS, reconnect=True)
    epochs = {region_id: await _epoch(town, operator, region_id) for region_id in REGIONS}

    killed_s = nodes.kill(lost)
    impatient = Api(joined.url, patience_s=0)

    async def serves_again() -> bool:
        reply = await impatient.request("GET", "/v1/regions/tx-dfw/stats", account=operator)
        return reply.ok and reply.body["epoch"] > epochs["tx-dfw"]

    await until(serves_again, BACK_WITHIN_S)
    print(f"\na region is back {time.monotonic() - killed_s:.1f} s after its node died")
    await impatient.close()
    assert await _epoch(town, operator, "tx-hou") == epochs["tx-hou"]  # the other one noticed nothing

    for _ in range(2):
        await crew.order()
    await crew.delivered(90)
    assert nodes.node_of("tx-dfw") == kept
    await crew.assert_nothing_lost_or_twice()
    await town.leave()


async def test_the_server_outlives_its_command_and_the_next_one_finds_it(
    nodes: RayNodes, joined: LiveServer
) -> None:
    town = await Town.found(joined.url)
    operator = await joined.operator(town.api)
    epoch = await _epoch(town, operator, "tx-hou")
    assert joined.stop() == 0
    assert (await town.api.request("GET", "/health/ready")).ok
    gateways = nodes.workers(0, "ray::GatewayActor")
    joined.start("--address", nodes.address)

    async def found() -> bool:
        return "found 4 actors" in joined.log() and "Ctrl-C stops" in joined.log()

    await until(found, 60)
    assert nodes.workers(0, "ray::GatewayActor") == gateways
    assert await _epoch(town, operator, "tx-hou") == epoch
    await town.leave()
    assert joined.stop() == 0  # not detached this time
    assert not nodes.workers(0, "ray::GatewayActor")
    assert not nodes.workers(0, "ray::PersistenceActor")


async def test_a_server_that_was_left_is_drained_by_a_command(nodes: RayNodes, joined: LiveServer) -> None:
    joined.start("--address", nodes.address, "--detach")
    town = await Town.found(joined.url)
    driver = await town.driver()
    assert joined.stop() == 0
    drain = ("drain", "--address", nodes.address)
    assert await asyncio.to_thread(joined.command, *drain) == 0
    await driver.wait_for(lambda: driver.closes, 10)
    assert driver.closes == [CLOSE_RESTARTING]
    assert "draining gateway:0, region:tx-dfw, region:tx-hou, persistence:0" in joined.log()
    ended = (
        (0, "ray::GatewayActor"),
        (0, "ray::PersistenceActor"),
        (1, "ray::RegionActor"),
        (2, "ray::RegionActor"),
    )
    for number, title in ended:
        assert not nodes.workers(number, title)
    assert await asyncio.to_thread(joined.command, *drain) == 1
    assert "No server was left in this cluster." in joined.log()
    await town.leave()


async def _epoch(town: Town, operator: Account, region_id: str) -> int:
    async def epoch() -> int | None:
        reply = await town.api.request("GET", f"/v1/regions/{region_id}/stats", account=operator)
        return int(reply.body["epoch"]) if reply.ok else None

    return await until(epoch)
