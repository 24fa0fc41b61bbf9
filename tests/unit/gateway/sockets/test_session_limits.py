"""What one socket may take: floods are read late, slow readers are cut, tokens end, and a restart waits for answers."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from msgspec.structs import replace

from actors.config import Limits
from domain.orders.lifecycle import Role
from domain.orders.records import Answer
from domain.protocol import OfferExpired, retry_after_ms
from domain.region.messages import Ask, Push
from gateway.http.account_status import Accounts
from gateway.http.auth import Principal
from gateway.sockets.session import BAD_FRAME_COST, DriverSocket
from persistence.reads.views import Holder
from tests.support.gateway_world import DALLAS, GATEWAY, REGION, SocketClient, World, running, until

LOCATION = {"type": "location", **DALLAS, "at": "2030-01-01T00:00:00Z"}


def limits(**changes: Any) -> Limits:
    return Limits(ping_flush_s=0.01, ws_hello_timeout_s=2.0, **changes)


def socket_of(world: World, driver_id: str) -> DriverSocket:
    socket = world.services.hub.get(driver_id)
    assert isinstance(socket, DriverSocket)
    return socket


# -- a flood ----------------------------------------------------------------------------------------------------------


async def test_a_flood_is_read_late_and_nothing_of_it_is_lost() -> None:
    async with running(limits=limits(ws_frames_per_s=100, ws_frames_burst=20)) as world:
        _, flooder = await world.driver()
        _, other = await world.driver()
        traffic = world.services.metrics.traffic
        before, began_s = traffic.pings, time.monotonic()
        for seq in range(1, 81):
            await flooder.send(LOCATION | {"seq": seq})
        await flooder.send({"type": "task.arrive", "id": "last", "task_id": "t"})
        # The other one is served at once, while the flood still waits.
        await other.send({"type": "task.arrive", "id": "x", "task_id": "t"})
        assert (await other.receive("error"))["in_reply_to"] == "x"
        assert traffic.pings - before < 80
        assert (await flooder.receive("error"))["in_reply_to"] == "last"
        # 83 frames with hello and duty; 20 at once, the others 10 ms each.
        assert time.monotonic() - began_s > 0.9 * (83 - 20) / 100
        assert traffic.pings - before == 80


async def test_bad_frames_count_for_several() -> None:
    async with running(
        limits=limits(ws_frames_per_s=100, ws_frames_burst=20, ws_bad_frames_limit=100)
    ) as world:
        _, client = await world.driver()
        began_s = time.monotonic()
        for _ in range(20):
            await client.send("nonsense")
        for _ in range(20):
            await client.receive("error")
        assert time.monotonic() - began_s > 0.9 * (20 * BAD_FRAME_COST - 20 - BAD_FRAME_COST) / 100


async def test_after_a_silence_a_burst_is_read_at_once() -> None:
    async with running(limits=limits(ws_frames_per_s=1, ws_frames_burst=20)) as world:
        _, client = await world.driver()
        for seq in range(1, 17):
            await client.send(LOCATION | {"seq": seq})
        await client.send({"type": "task.arrive", "id": "x", "task_id": "t"})
        assert (await client.receive("error", timeout_s=0.9))["in_reply_to"] == "x"


# -- a slow reader ----------------------------------------------------------------------------------------------------


class Slow:
    """Holds back what the server writes to a client, as a full network buffer would."""

    def __init__(self, socket: DriverSocket) -> None:
        self.gate = asyncio.Event()
        self._send_text = socket._ws.send_text
        socket._ws.send_text = self._late  # type: ignore[method-assign]

    async def _late(self, data: str) -> None:
        await self.gate.wait()
        await self._send_text(data)


def pushes(world: World, driver_id: str, numbers: range) -> list[Push]:
    session = socket_of(world, driver_id).session
    return [Push(GATEWAY, driver_id, session, OfferExpired(seq=n, offer_id=str(n))) for n in numbers]


async def test_a_slow_reader_is_closed_and_then_gets_all_of_it() -> None:
    async with running(limits=limits(ws_outbox_limit=8)) as world:
        driver_id, slow = await world.driver()
        _, other = await world.driver(on_duty=False)
        socket = socket_of(world, driver_id)
        held = Slow(socket)
        region = world.backend.regions[REGION]._pump
        assert region is not None
        before = region.region.state.mail.last_seq(driver_id)
        for n in range(20):
            frame = region.region.state.mail.put(driver_id, OfferExpired(offer_id=str(n)))
            world.services.hub.deliver([Push(GATEWAY, driver_id, socket.session, frame)])
        await until(lambda: socket not in world.services.open_sockets, timeout_s=10)
        held.gate.set()
        await slow.receive("closed")
        assert slow.closed is not None
        assert slow.closed[0] == 4008
        await other.send({"type": "task.arrive", "id": "x", "task_id": "t"})
        assert (await other.receive("error"))["in_reply_to"] == "x"
        again = await world.connect(
            world.auth(driver_id, Role.DRIVER), resume_from=before + 14, on_duty=False
        )
        assert again.welcome["resumed"]  # type: ignore[attr-defined]
        assert [(await again.receive())["offer_id"] for _ in range(6)] == [str(n) for n in range(14, 20)]


async def test_a_slow_reader_costs_no_more_than_its_outbox() -> None:
    async with running(limits=limits(ws_outbox_limit=8)) as world:
        driver_id, _ = await world.driver()
        socket = socket_of(world, driver_id)
        Slow(socket).gate.set()
        base = socket._connection.last_seq
        world.services.hub.deliver(pushes(world, driver_id, range(base + 1, base + 100_000)))
        assert len(socket._connection._out) <= 8
        assert len(socket._connection._ahead) <= 64


# -- tokens -----------------------------------------------------------------------------------------------------------


async def hello(world: World, driver_id: str, valid_s: float) -> SocketClient:
    """A welcomed client whose token ends after so many seconds."""
    client = await world.connect(world.auth(driver_id, Role.DRIVER), on_duty=False)
    socket_of(world, driver_id)._token._watch(valid_s)
    return client


async def test_a_token_that_ends_is_told_and_then_closes_the_socket() -> None:
    async with running(limits=limits(ws_auth_grace_s=0.2)) as world:
        driver_id, _ = await world.account(Role.DRIVER)
        client = await hello(world, driver_id, 0.05)
        assert await client.receive() == {"type": "auth.expired", "grace_s": 0.2}
        began_s = time.monotonic()
        await client.receive("closed")
        assert client.closed == (4003, "the access token has expired")
        assert time.monotonic() - began_s > 0.15


async def test_without_grace_it_is_closed_at_once() -> None:
    async with running(limits=limits(ws_auth_grace_s=0.0)) as world:
        driver_id, _ = await world.account(Role.DRIVER)
        client = await hello(world, driver_id, 0.0)
        assert (await client.receive())["type"] == "auth.expired"
        await client.receive("closed")
        assert client.closed is not None
        assert client.closed[0] == 4003


async def test_a_fresh_token_keeps_the_socket_open() -> None:
    async with running(limits=limits(ws_auth_grace_s=0.3)) as world:
        driver_id, _ = await world.account(Role.DRIVER)
        client = await hello(world, driver_id, 0.0)
        assert (await client.receive())["type"] == "auth.expired"
        token = world.services.tokens.issue(driver_id, Role.DRIVER)
        await client.send({"type": "auth", "id": "t", "token": token})
        answer = await client.receive()
        assert (answer["type"], answer["in_reply_to"]) == ("auth.ok", "t")
        assert 3500 < answer["valid_s"] <= 3600
        with pytest.raises(TimeoutError):
            await client.receive(timeout_s=0.5)
        assert client.closed is None


async def test_a_token_of_somebody_else_is_refused_and_changes_nothing() -> None:
    async with running(limits=limits(ws_auth_grace_s=0.3)) as world:
        driver_id, _ = await world.account(Role.DRIVER)
        other_id, _ = await world.account(Role.DRIVER)
        client = await hello(world, driver_id, 0.0)
        assert (await client.receive())["type"] == "auth.expired"
        tokens = world.services.tokens
        for token, code in (
            (tokens.issue(other_id, Role.DRIVER), "FORBIDDEN"),
            (tokens.issue(driver_id, Role.CUSTOMER), "FORBIDDEN"),
            ("nonsense", "UNAUTHENTICATED"),
        ):
            await client.send({"type": "auth", "id": code, "token": token})
            refused = await client.receive()
            assert (refused["code"], refused["in_reply_to"]) == (code, code)
        await client.receive("closed")
        assert client.closed is not None
        assert client.closed[0] == 4003


async def test_a_socket_that_closes_leaves_no_timer_behind(world: World) -> None:
    driver_id, client = await world.driver()
    socket = socket_of(world, driver_id)
    await client.close()
    assert socket._token._expiry is not None
    assert socket._token._expiry.cancelled()


# -- accounts ---------------------------------------------------------------------------------------------------------


async def test_accounts_that_are_gone_or_changed_are_closed_and_stay_out(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, gone_client = await world.driver()
    changed, changed_client = await world.driver()
    well, well_client = await world.driver()
    reads: list[set[str]] = []
    plain = world.reads.revoked

    async def counted(holders: Any) -> set[Holder]:
        reads.append({holder.user_id for holder in holders})
        return await plain(holders)

    monkeypatch.setattr(world.reads, "revoked", counted)
    world.services.accounts = Accounts(world.reads, 0.0)
    user = world.reads.users.pop(gone)
    world.reads.users[changed] = replace(world.reads.users[changed], role=Role.CUSTOMER)
    await world.services.recheck.look()
    assert reads == [{gone, changed, well}]
    for client in (gone_client, changed_client):
        assert (await client.receive("error"))["code"] == "FORBIDDEN"
        await client.receive("closed")
        assert client.closed == (1008, "FORBIDDEN")
    assert well_client.closed is None
    # Its token is good for hours.
    again = await world.socket()
    await again.send({"type": "hello", "token": world.services.tokens.issue(gone, Role.DRIVER)})
    assert (await again.receive())["code"] == "UNAUTHENTICATED"
    # Back in office.
    world.reads.users[gone] = user
    await world.connect(world.auth(gone, Role.DRIVER))


async def test_while_the_database_is_away_nobody_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(limits=limits(ws_recheck_s=0.1)) as world:
        driver_id, client = await world.driver()
        looked = asyncio.Queue[None]()

        async def away(holders: Any) -> set[Holder]:
            looked.put_nowait(None)
            raise OSError

        monkeypatch.setattr(world.reads, "revoked", away)
        running_ = asyncio.create_task(world.services.recheck.run())
        async with asyncio.timeout(5):
            await looked.get()
            await looked.get()  # it goes on after a failure
        running_.cancel()
        assert world.services.hub.get(driver_id) is not None
        assert client.closed is None


async def test_a_thousand_accounts_are_one_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    async def none(holders: Any) -> set[Holder]:
        sizes.append(len(holders))
        return set()

    monkeypatch.setattr(world.reads, "revoked", none)
    principals = [Principal(f"{n:05}", Role.DRIVER) for n in range(2_500)]
    async with asyncio.timeout(5):
        await asyncio.gather(*(world.services.accounts.require(principal) for principal in principals))
    assert sizes == [1000, 1000, 500]


# -- a restart --------------------------------------------------------------------------------------------------------


async def test_what_was_asked_is_answered_before_a_restart_closes_the_socket(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, plain = asyncio.Event(), world.backend.ask

    async def slow(region_id: str, ask: Ask) -> Answer:
        await gate.wait()
        return await plain(region_id, ask)

    driver_id, busy = await world.driver()
    _, idle = await world.driver(on_duty=False)
    await world.order("CONFIRMED")
    offer = await busy.receive("offer")
    monkeypatch.setattr(world.backend, "ask", slow)
    await busy.send({"type": "offer.accept", "id": "a", "offer_id": offer["offer_id"]})
    await until(lambda: socket_of(world, driver_id)._questions)
    for socket in list(world.services.open_sockets):
        socket.retire(world.services.admission.restart_reason())
    await idle.receive("closed")
    assert idle.closed is not None
    assert idle.closed[0] == 1012
    assert 0 <= (retry_after_ms(idle.closed[1]) or 0) <= 10_000
    await until(lambda: len(world.services.open_sockets) == 1)
    gate.set()
    assert (await busy.receive("offer.accepted"))["in_reply_to"] == "a"
    await busy.receive("closed")
    assert busy.closed is not None
    assert busy.closed[0] == 1012


async def test_a_draining_gateway_takes_no_socket(world: World) -> None:
    world.services.admission.draining = True
    client = await world.socket()
    await client.receive("closed")
    assert client.closed is not None
    assert client.closed[0] == 1012
    assert retry_after_ms(client.closed[1]) is not None
