"""Several gateways on one port: whichever a request or a socket lands on, the driver is one driver."""

from __future__ import annotations

import json

from domain.orders.lifecycle import Role
from gateway.sockets.hub import Hub
from gateway.sockets.positions import columns
from tests.support.gateway_world import DALLAS, REGION, SCRAPER, SocketClient, World, several, until

NORTH = {"lat": 32.9, "lng": -96.8}


def on_duty(world: World, driver_id: str) -> bool | None:
    """As the region has it; None before it has heard of the driver."""
    pump = world.backend.regions[REGION]._pump
    assert pump is not None
    fleet = pump.region.state.fleet
    return bool(fleet.on_duty[fleet.index[driver_id]]) if driver_id in fleet.index else None


async def driver_at(world: World, driver_id: str) -> SocketClient:
    client = await world.connect(world.auth(driver_id, Role.DRIVER))
    await until(lambda: on_duty(world, driver_id))
    return client


async def test_a_socket_at_another_gateway_takes_over() -> None:
    async with several("gateway:0", "gateway:1") as (zero, one):
        driver_id, _ = await zero.account(Role.DRIVER)
        first = await driver_at(zero, driver_id)
        second = await driver_at(one, driver_id)
        await first.receive("closed")
        assert first.closed is not None
        assert first.closed[0] == 4001
        await until(lambda: not zero.services.open_sockets)
        await zero.order("CONFIRMED")
        offer = await second.receive("offer")
        await second.send({"type": "offer.accept", "id": "a", "offer_id": offer["offer_id"]})
        assert (await second.receive("offer.accepted"))["in_reply_to"] == "a"
        # And back again: what was handled there is not told again here.
        third = await zero.connect(zero.auth(driver_id, Role.DRIVER), resume_from=offer["seq"])
        assert third.welcome["resumed"]  # type: ignore[attr-defined]
        await second.receive("closed")


async def test_a_word_over_rest_reaches_the_socket_at_another_gateway() -> None:
    async with several("gateway:0", "gateway:1") as (zero, one):
        driver_id, headers = await zero.account(Role.DRIVER)
        client = await driver_at(zero, driver_id)
        duty = f"/v1/drivers/{driver_id}/duty"
        said = await one.http.post(duty, json={"on": False, **DALLAS}, headers=headers)
        assert said.status_code == 200
        await until(lambda: on_duty(zero, driver_id) is False)
        # The socket's next pings do not take it back ...
        pings = zero.services.pings.sent
        ping = {"type": "location", **DALLAS, "at": "2030-01-01T00:00:00Z", "seq": 1}
        await client.send(ping)
        await until(lambda: zero.services.pings.sent > pings)
        assert on_duty(zero, driver_id) is False
        # ... its next word on duty does, also after the region has begun anew and heard of both again.
        await client.send({"type": "duty", "on": True, **NORTH})
        await until(lambda: on_duty(zero, driver_id))
        await zero.backend.start_region(REGION)
        await until(lambda: on_duty(zero, driver_id) is not None)
        one.services.pings.refill(REGION)
        pings = zero.services.pings.sent + one.services.pings.sent
        await client.send(ping | {"seq": 2, **NORTH})
        await until(lambda: zero.services.pings.sent + one.services.pings.sent >= pings + 2)
        assert on_duty(zero, driver_id)


async def test_the_answer_to_an_action_over_rest_at_another_gateway_is_pushed_to_the_socket() -> None:
    async with several("gateway:0", "gateway:1") as (zero, one):
        driver_id, headers = await zero.account(Role.DRIVER)
        client = await driver_at(zero, driver_id)
        await one.order("CONFIRMED")
        task_id = (await client.receive("offer"))["tasks"][0]["task_id"]
        accepted = await one.http.post(f"/v1/tasks/{task_id}/accept", headers=headers)
        assert accepted.status_code == 200
        assert (await client.receive("offer.accepted"))["tasks"][0]["task_id"] == task_id


async def test_a_region_that_begins_anew_hears_of_the_drivers_of_every_gateway() -> None:
    async with several("gateway:0", "gateway:1") as (zero, one):
        here, _ = await zero.account(Role.DRIVER)
        there, _ = await one.account(Role.DRIVER)
        clients = [await driver_at(zero, here), await driver_at(one, there)]
        await zero.backend.start_region(REGION)
        await until(lambda: on_duty(zero, here) and on_duty(zero, there))
        await zero.order("CONFIRMED")
        await zero.order("CONFIRMED")
        for client in clients:
            assert (await client.receive("offer"))["type"] == "offer"


async def test_every_gateway_shows_the_region_and_answers_machines() -> None:
    async with several("gateway:0", "gateway:1") as worlds:
        for world in worlds:
            assert (await world.http.get("/health/ready")).status_code == 200
            page = (await world.http.get("/metrics", headers=SCRAPER)).text
            assert f'gateway="{world.services.gateway_id}"' in page
            events = world.services.feeds.watch(REGION)
            chunk = await anext(events)
            assert json.loads(chunk.decode().partition("data: ")[2])["region_id"] == REGION
            await events.aclose()  # type: ignore[attr-defined]


async def test_a_clock_that_is_behind_does_not_keep_a_driver_out() -> None:
    async with several("gateway:0", "gateway:1") as (zero, one):
        driver_id, _ = await zero.account(Role.DRIVER)
        first = await driver_at(zero, driver_id)
        one.services.hub._now_us = lambda: zero.services.now_us() - 3_600_000_000
        # While the first is open the later hello may be turned away, for clocks decide which was later ...
        client = await one.socket()
        await client.send({"type": "hello", "token": one.services.tokens.issue(driver_id, Role.DRIVER)})
        await client.receive("closed")
        assert client.closed is not None
        assert client.closed[0] == 4001
        # ... but once the region knows that it has gone, any clock will do.
        await first.close()
        await until(lambda: not zero.services.open_sockets)
        second = await driver_at(one, driver_id)
        await one.order("CONFIRMED")
        assert (await second.receive("offer"))["type"] == "offer"


async def test_a_late_ping_of_a_session_that_was_replaced_closes_nothing() -> None:
    async with several("gateway:0", "gateway:1") as (zero, one):
        driver_id, _ = await zero.account(Role.DRIVER)
        await driver_at(zero, driver_id)
        old = zero.services.pings.last(driver_id)
        second = await driver_at(one, driver_id)
        assert old is not None
        await zero.backend.seen(REGION, columns("gateway:0", [old]))
        await one.order("CONFIRMED")
        assert (await second.receive("offer"))["type"] == "offer"


def test_sessions_rise_whatever_the_clock_does() -> None:
    times = iter([100, 100, 50, 200])
    hub = Hub(lambda: next(times))
    assert [hub.next_session() for _ in range(4)] == [100, 101, 102, 200]
