"""The driver socket's shell: who gets in, who is closed, and with which code."""

from __future__ import annotations

import asyncio
import logging

import pytest
from msgspec.structs import replace
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from domain.errors import RegionUnavailable
from domain.orders.lifecycle import Role
from domain.orders.records import Answer
from domain.protocol import OfferExpired
from domain.region.messages import Ask, Attach, Attached, Kick, Push
from gateway.sockets.session import QUESTIONS_LIMIT, DriverSocket
from tests.support.gateway_world import DALLAS, REGION, World, make_config, running, until


async def test_the_subprotocol_is_answered(world: World) -> None:
    client = await world.socket()
    assert client.subprotocol == "doorstep.v1"


async def test_no_hello_in_time(world: World) -> None:
    client = await world.socket()
    assert (await client.receive())["code"] == "UNAUTHENTICATED"
    assert (await client.receive())["type"] == "closed"
    assert client.closed is not None
    assert client.closed[0] == 1008


@pytest.mark.parametrize(("role", "code"), [(Role.CUSTOMER, "FORBIDDEN"), (None, "UNAUTHENTICATED")])
async def test_a_hello_of_somebody_else(world: World, role: Role | None, code: str) -> None:
    token = world.services.tokens.issue("somebody", role) if role else "no token"
    client = await world.socket()
    await client.send({"type": "hello", "token": token})
    assert (await client.receive())["code"] == code
    await client.receive()
    assert client.closed == (1008, code)


async def test_a_second_socket_takes_over(world: World) -> None:
    driver_id, first = await world.driver()
    second = await world.connect(world.auth(driver_id, Role.DRIVER))
    await first.receive("closed")
    assert first.closed is not None
    assert first.closed[0] == 4001
    await world.order("CONFIRMED")
    assert (await second.receive("offer"))["type"] == "offer"
    assert len(world.services.open_sockets) == 1


async def test_a_kick_and_pushes_reach_only_their_session(world: World) -> None:
    driver_id, client = await world.driver()
    socket = world.services.hub.get(driver_id)
    assert socket is not None
    hub = world.services.hub
    stray = OfferExpired(seq=2**40, offer_id="stray")
    hub.deliver([Push("gateway:0", driver_id, socket.session - 1, stray), Kick("gateway:0", driver_id, 1)])
    hub.deliver([Push("gateway:0", "nobody", 1, stray)])
    assert hub.dropped == 3
    hub.deliver([Kick("gateway:0", driver_id, socket.session)])
    await client.receive("closed")
    assert client.closed is not None
    assert client.closed[0] == 4001


async def test_a_repeat_gets_the_same_answer(world: World) -> None:
    driver_id, client = await world.driver()
    await world.order("CONFIRMED")
    offer = await client.receive("offer")
    accept = {"type": "offer.accept", "id": "a", "offer_id": offer["offer_id"]}
    await client.send(accept)
    first = await client.receive("offer.accepted")
    await client.send(accept)
    assert await client.receive("offer.accepted") == first
    # Also on another socket, and not for another wish.
    again = await world.connect(world.auth(driver_id, Role.DRIVER), on_duty=False)
    await again.send(accept)
    assert await again.receive("offer.accepted") == first
    await again.send({"type": "offer.reject", "id": "a", "offer_id": offer["offer_id"]})
    assert (await again.receive("error"))["code"] == "IDEMPOTENCY_KEY_REUSED"


async def test_a_first_answer_holds_when_the_region_has_long_forgotten_it() -> None:
    policy = replace(make_config().policy, answers_limit=2)
    async with running(policy=policy) as world:
        driver_id, client = await world.driver()
        await world.order("CONFIRMED")
        offer = await client.receive("offer")
        accept = {"type": "offer.accept", "id": "a", "offer_id": offer["offer_id"]}
        await client.send(accept)
        first = await client.receive("offer.accepted")
        task_id = offer["tasks"][0]["task_id"]
        # All at once, so that some are asked before the region says that it may have forgotten; in their order still.
        steps = ("task.arrive", "task.pickup", "task.arrive")
        for number, step in enumerate(steps):
            await client.send({"type": step, "id": f"s{number}", "task_id": task_id})
        states = [(await client.receive("task.updated", "error"))["task"]["status"] for _ in steps]
        assert states == ["AT_PICKUP", "PICKED_UP", "AT_DROPOFF"]
        for _ in range(2):
            await client.send(accept)
            assert await client.receive("offer.accepted", "error") == first
        await client.send({"type": "offer.reject", "id": "a", "offer_id": offer["offer_id"]})
        assert (await client.receive("error"))["code"] == "IDEMPOTENCY_KEY_REUSED"
        # After a new life, too, and on another socket.
        await world.backend.start_region(REGION)
        again = await world.connect(world.auth(driver_id, Role.DRIVER), on_duty=False)
        await again.send(accept)
        assert await again.receive("offer.accepted", "error") == first


async def test_a_questions_log_line_names_driver_and_request(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    driver_id, client = await world.driver()
    caplog.set_level(logging.DEBUG, "gateway")
    with capture_logs(processors=[merge_contextvars]) as lines:
        await client.send({"type": "offer.accept", "id": "a", "offer_id": "none"})
        await client.receive("error")
    (line,) = (line for line in lines if line["event"] == "decided")
    assert (line["driver_id"], line["offer_id"]) == (driver_id, "none")
    assert line["request_id"]


async def test_one_winner_of_many_accepts(world: World) -> None:
    _, holder = await world.driver()
    await world.order("CONFIRMED")
    offer = await holder.receive("offer")
    others = [(await world.driver(on_duty=False))[1] for _ in range(20)]
    for client in (*others, holder):
        await client.send({"type": "offer.accept", "id": "a", "offer_id": offer["offer_id"]})
    answers = [await client.receive("offer.accepted", "error") for client in (*others, holder)]
    assert [answer["type"] for answer in answers].count("offer.accepted") == 1
    assert {answer.get("code") for answer in answers} <= {None, "OFFER_TAKEN", "OFFER_EXPIRED"}


async def test_questions_in_waiting_are_limited_and_pings_go_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = asyncio.Event()

    async def slow(region_id: str, ask: Ask) -> Answer:
        await gate.wait()
        raise RegionUnavailable(retry_after_s=2)

    driver_id, client = await world.driver()
    monkeypatch.setattr(world.backend, "ask", slow)
    for number in range(QUESTIONS_LIMIT + 1):
        await client.send({"type": "task.arrive", "id": str(number), "task_id": "t"})
    refused = await client.receive("error")
    assert (refused["code"], refused["in_reply_to"]) == ("OVERLOADED", str(QUESTIONS_LIMIT))
    await client.send({"type": "duty", "on": False, **DALLAS})
    await until(lambda: (state := world.services.pings.last(driver_id)) and not state.on_duty)
    gate.set()
    answers = [await client.receive("error") for _ in range(QUESTIONS_LIMIT)]
    assert {answer["code"] for answer in answers} == {"REGION_UNAVAILABLE"}
    assert {answer["retry_after_s"] for answer in answers} == {2}


async def test_duty_needs_a_place_once(world: World) -> None:
    _, headers = await world.account(Role.DRIVER)
    client = await world.connect(headers, on_duty=False)
    await client.send({"type": "duty", "on": True})
    assert (await client.receive("error"))["code"] == "INVALID_REQUEST"
    await client.send({"type": "duty", "on": True, **DALLAS})
    await client.send({"type": "duty", "on": False})
    await client.send({"type": "duty", "on": True})
    await client.send({"type": "task.arrive", "id": "x", "task_id": "t"})
    assert (await client.receive("error"))["in_reply_to"] == "x"


async def test_a_missing_push_is_fetched(world: World) -> None:
    driver_id, client = await world.driver()
    socket = world.services.hub.get(driver_id)
    assert socket is not None
    plain, kept = world.services.hub.deliver, list[Push | Kick]()

    def lose_one(batch: list[Push | Kick]) -> None:
        kept.extend(batch[:1])
        plain(batch[1:])

    world.services.hub.deliver = lose_one  # type: ignore[method-assign, assignment]
    order = await world.order("CONFIRMED")
    await until(lambda: kept)
    world.services.hub.deliver = plain  # type: ignore[method-assign]
    await world.step(order, "cancel")
    frames = [await client.receive(), await client.receive()]
    assert [frame["type"] for frame in frames] == ["offer", "offer.revoked"]
    assert frames[1]["seq"] == frames[0]["seq"] + 1


async def test_a_region_that_says_twice_that_it_knows_nobody_is_told_twice(world: World) -> None:
    driver_id, client = await world.driver()
    socket = world.services.hub.get(driver_id)
    assert socket is not None
    attach, asked, go_on = world.backend.attach, list[Attach](), asyncio.Event()

    async def late(region_id: str, message: Attach) -> Attached:
        asked.append(message)
        await go_on.wait()
        return await attach(region_id, message)

    world.backend.attach = late  # type: ignore[method-assign, assignment]
    socket.reattach()
    await until(lambda: asked)
    socket.reattach()  # the answer that is under way may be of the life before
    socket.reattach()
    go_on.set()
    await until(lambda: len(asked) == 2)
    await client.send({"type": "task.arrive", "id": "x", "task_id": "t"})
    assert (await client.receive("error"))["in_reply_to"] == "x"
    assert len(asked) == 2


async def test_a_gap_that_closes_by_itself_does_not_hide_a_new_life_of_the_region(world: World) -> None:
    driver_id, _ = await world.driver()
    socket = world.services.hub.get(driver_id)
    assert isinstance(socket, DriverSocket)
    attach, asked = world.backend.attach, list[Attach]()

    async def seen(region_id: str, message: Attach) -> Attached:
        asked.append(message)
        return await attach(region_id, message)

    world.backend.attach = seen  # type: ignore[method-assign, assignment]
    base = socket._connection.last_seq
    socket.push(OfferExpired(seq=base + 2, offer_id="late"))
    socket.reattach()
    socket.push(OfferExpired(seq=base + 1, offer_id="early"))
    await until(lambda: asked)
    assert asked[0].resume_from == base + 2
