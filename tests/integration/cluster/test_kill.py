"""kill -9 in the middle of things: a pause and nothing else."""

from __future__ import annotations

import time

import pytest

from domain import protocol as wire
from sim.demo.api import Api
from tests.integration.crew import Crew
from tests.integration.live import LiveServer, Town, new_key, until

pytestmark = [pytest.mark.integration, pytest.mark.cluster]

BACK_WITHIN_S = 5.0
KILLS_LIMIT = 3  # whatever else the machine does may hold up one start, and a slow server is slow every time
DRIVERS = 6


@pytest.mark.parametrize("part", ["region", "persistence"])
async def test_work_goes_on_over_a_kill(server: LiveServer, town: Town, part: str) -> None:
    crew = await Crew.at_work(town, DRIVERS)
    away_s = [await _away_s(server, town, part)]
    while away_s[-1] > BACK_WITHIN_S and len(away_s) < KILLS_LIMIT:
        away_s.append(await _away_s(server, town, part))
    assert away_s[-1] <= BACK_WITHIN_S, away_s
    for _ in range(3):
        await crew.order()
    await crew.delivered(60)
    await crew.assert_nothing_lost_or_twice()
    assert all(phone.closes == [] for phone in crew.phones)  # the sockets noticed nothing


async def _away_s(server: LiveServer, town: Town, part: str) -> float:
    """Kill a part that serves; returns how long it did not, as an impatient customer notices it."""
    operator = await server.operator(town.api)
    pid, killed_s = server.pid(part), server.kill(part)
    impatient = Api(server.url, patience_s=0)

    async def serves_again() -> bool:
        stats = await impatient.request("GET", "/v1/regions/tx-dfw/stats", account=operator)
        if not stats.ok:  # which need the region
            return False
        draft = await impatient.request(
            "POST", "/v1/orders", account=town.customer, body=town.basket(), key=new_key()
        )
        return draft.ok  # which needs persistence

    await until(serves_again, 60)
    away_s = time.monotonic() - killed_s
    await impatient.close()
    assert server.pid(part) != pid
    return away_s


async def test_an_accepted_task_outlives_the_region(server: LiveServer, town: Town) -> None:
    driver = await town.driver()
    order_id = await town.order()
    task = await driver.accept(await driver.offer())
    server.kill("region")
    answer = await driver.ask(wire.TaskArrive(new_key(), task.task_id), deadline_s=30)
    assert isinstance(answer, wire.TaskUpdated)
    assert answer.task.status == "AT_PICKUP"
    assert await town.status(order_id) == "ASSIGNED"


async def test_drivers_resume_after_the_gateway_was_killed_and_miss_nothing(
    server: LiveServer, town: Town
) -> None:
    driver = await town.driver(reconnect=True)
    order_id = await town.order()
    task = await driver.accept(await driver.offer())
    seqs_before = [frame.seq for frame in driver.frames if frame.seq]
    killed_s = server.kill("gateway")
    await driver.wait_for(lambda: driver.closes, 10)
    await driver.wait_for(lambda: len(driver.resumes) == 2, 30)
    assert time.monotonic() - killed_s < BACK_WITHIN_S * 2
    assert driver.resumes[-1] is True
    await town.api.sign_in(town.customer)
    assert (await town.merchant_does(order_id, "ready")).ok  # which the driver must hear of
    update = await driver.expect(wire.TaskUpdated, in_reply_to=None)
    assert update.task.task_id == task.task_id
    seqs = [frame.seq for frame in driver.frames if frame.seq]
    assert seqs == sorted(set(seqs))
    assert seqs[: len(seqs_before)] == seqs_before


async def test_what_happens_while_a_driver_is_away_is_told_on_return(town: Town) -> None:
    driver = await town.driver()
    order_id = await town.order()
    task = await driver.accept(await driver.offer())
    await driver.close()
    assert (await town.merchant_does(order_id, "ready")).ok
    assert (await town.post(f"/v1/orders/{order_id}/cancel", town.customer)).ok
    await driver.open()
    assert driver.resumes == [False, True]
    await driver.expect(wire.TaskCancelled, task_id=task.task_id)
    seqs = [frame.seq for frame in driver.frames if frame.seq]
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
