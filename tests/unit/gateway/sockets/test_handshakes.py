"""Sockets that say nothing: so many at most, in all and from one address; who has said hello is not concerned."""

from __future__ import annotations

import asyncio
import json
from contextlib import ExitStack
from typing import Any

from actors.config import Limits
from domain.orders.lifecycle import Role
from domain.protocol import retry_after_ms
from gateway.sockets.handshakes import Handshakes
from tests.support.gateway_world import World, running, until


def limits(**changes: Any) -> Limits:
    return Limits(ping_flush_s=0.01, **{"ws_hello_timeout_s": 30.0, **changes})


async def knock(world: World, address: str = "test", forwarded: str = "") -> tuple[int, dict[str, str], Any]:
    """What a handshake leads to: its status, headers and body; 101 when it is accepted, and the socket stays open."""
    to_app, from_app = asyncio.Queue[Any](), asyncio.Queue[Any]()
    scope = {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "scheme": "ws",
        "path": "/v1/drivers/ws",
        "raw_path": b"/v1/drivers/ws",
        "query_string": b"",
        "headers": [(b"x-forwarded-for", forwarded.encode())] if forwarded else [],
        "subprotocols": [],
        "server": ("test", 80),
        "client": (address, 1),
        "state": {},
        "extensions": {"websocket.http.response": {}},
    }
    to_app.put_nowait({"type": "websocket.connect"})
    world.app.state.knocks = knocks = getattr(world.app.state, "knocks", [])
    knocks.append(asyncio.create_task(world.app(scope, to_app.get, from_app.put)))
    async with asyncio.timeout(5):
        message = await from_app.get()
        if message["type"] == "websocket.accept":
            return 101, {}, to_app
        body = await from_app.get()
    headers = {name.decode(): value.decode() for name, value in message["headers"]}
    return message["status"], headers, json.loads(body["body"])


async def test_an_address_has_so_many_that_say_nothing() -> None:
    async with running(limits=limits(ws_waiting_per_address=3)) as world:
        silent = [await knock(world, "203.0.113.7") for _ in range(3)]
        assert [status for status, _, _ in silent] == [101] * 3
        status, headers, body = await knock(world, "203.0.113.7")
        assert (status, body["code"]) == (429, "RATE_LIMITED")
        assert int(headers["retry-after"]) >= 1
        assert world.services.admission.refused[("socket", "waiting_of_address")] == 1
        # Others do not feel it, and one who goes makes room.
        assert (await knock(world, "203.0.113.8"))[0] == 101
        silent[0][2].put_nowait({"type": "websocket.disconnect", "code": 1001})
        await until(lambda: world.services.handshakes.waiting == 3)
        assert (await knock(world, "203.0.113.7"))[0] == 101


async def test_there_are_so_many_in_all() -> None:
    async with running(limits=limits(ws_waiting_limit=4)) as world:
        for n in range(4):
            assert (await knock(world, f"203.0.113.{n}"))[0] == 101
        status, headers, body = await knock(world, "203.0.113.99")
        assert (status, body["code"]) == (503, "OVERLOADED")
        assert int(headers["retry-after"]) >= 1


async def test_who_has_said_hello_takes_no_place() -> None:
    async with running(limits=limits(ws_waiting_per_address=2)) as world:
        clients = [(await world.driver())[1] for _ in range(6)]
        assert world.services.handshakes.waiting == 0
        for _ in range(2):
            assert (await knock(world))[0] == 101
        # The door is shut, and those inside go on.
        assert (await knock(world))[0] == 429
        await clients[0].send({"type": "task.arrive", "id": "x", "task_id": "t"})
        assert (await clients[0].receive("error"))["in_reply_to"] == "x"


async def test_the_address_is_the_one_that_our_proxy_has_seen() -> None:
    async with running(limits=limits(ws_waiting_per_address=1, trusted_proxies=1)) as world:
        assert (await knock(world, forwarded="198.51.100.1"))[0] == 101
        assert (await knock(world, forwarded="198.51.100.2"))[0] == 101
        assert (await knock(world, forwarded="6.6.6.6, 198.51.100.1"))[0] == 429
        assert (await knock(world, forwarded="2001:db8:1:2::3"))[0] == 101
        assert (await knock(world, forwarded="2001:db8:1:2::4"))[0] == 429, "one customer's network"


async def test_the_hellos_time_out_makes_room() -> None:
    async with running(limits=limits(ws_waiting_per_address=1, ws_hello_timeout_s=0.05)) as world:
        client = await world.socket()
        await client.receive("closed")
        assert client.closed is not None
        assert client.closed[0] == 1008
        await until(lambda: not world.services.handshakes.waiting)
        _, headers = await world.account(Role.DRIVER)
        await world.connect(headers)


async def test_frames_that_are_no_hello_put_the_time_out_not_off() -> None:
    async with running(limits=limits(ws_hello_timeout_s=0.3, ws_bad_frames_limit=100)) as world:
        client = await world.socket()
        began_s = asyncio.get_running_loop().time()

        async def chatter() -> None:
            while client.closed is None:
                await client.send("nonsense")
                await asyncio.sleep(0.02)

        talking = asyncio.create_task(chatter())
        await client.receive("closed")
        talking.cancel()
        assert client.closed is not None
        assert client.closed[0] == 1008
        assert asyncio.get_running_loop().time() - began_s < 4


async def test_where_a_handshake_cannot_be_answered_the_socket_is_closed() -> None:
    async with running(limits=limits(ws_waiting_per_address=1)) as world:
        await world.socket()
        client = await world.socket()
        await client.receive("closed")
        assert client.closed is not None
        assert client.closed[0] == 1013
        assert (retry_after_ms(client.closed[1]) or 0) > 0


def test_nothing_is_kept_of_addresses_that_have_gone() -> None:
    handshakes = Handshakes(10, 2)
    with ExitStack() as stack:
        for n in range(10):
            assert handshakes.refusal(f"a{n}", 1) is None
            give_back = stack.enter_context(handshakes.place(f"a{n}"))
            if n % 2:
                give_back()
                give_back()
        assert handshakes.waiting == 5
    assert handshakes.waiting == 0
    assert not handshakes._waiting
