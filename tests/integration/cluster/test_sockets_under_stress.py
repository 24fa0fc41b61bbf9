"""Real sockets on a real server in trouble: dead peers, floods, slow readers, nonsense, restarts, accounts that end."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket as sockets
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import httpx
import psutil
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from bench.counters import know
from bench.hostile.hostile import HostileOptions, run_hostile
from bench.throughput.load import text_frame
from domain import protocol as wire
from doorstep.embedded.services import Services
from tests.conftest import temporary
from tests.integration.live import (
    METRICS_TOKEN,
    SCRAPER,
    STORE_LAT,
    STORE_LNG,
    LiveServer,
    Phone,
    Town,
    new_key,
    until,
)

pytestmark = [pytest.mark.integration, pytest.mark.cluster, pytest.mark.timeout(300)]

HEARTBEAT_S = 1.0
GRACE_S = 1.0
SPREAD_S = 3.0


@pytest.fixture(scope="module")
def tight(embedded_services: Services, template: str) -> Iterator[LiveServer]:
    """A server with short heartbeats and small limits."""
    folder = Path(tempfile.mkdtemp(prefix="doorstep-stress-"))
    with temporary(embedded_services, template) as database_url:
        live = LiveServer(
            folder,
            DATABASE_URL=database_url,
            REDIS_URL=embedded_services.redis_url,
            OPS_OPEN="true",
            WS_HEARTBEAT_S=str(HEARTBEAT_S),
            WS_OUTBOX_LIMIT="16",
            WS_WRITE_BUFFER_BYTES="4096",
            WS_FRAMES_PER_S="200",
            WS_RECHECK_S="0.5",
            WS_AUTH_GRACE_S=str(GRACE_S),
            DRAIN_SPREAD_S=str(SPREAD_S),
            JWT_TTL_S="3600",
        )
        try:
            live.start()
            yield live
            assert live.stop() == 0, live.log()
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
async def street(tight: LiveServer) -> AsyncIterator[Town]:
    town = await Town.found(tight.url)
    yield town
    with contextlib.suppress(OSError):
        await town.leave()


async def open_raw(town: Town, **options: object) -> ClientConnection:
    """A welcomed socket of a new driver, whose client answers nothing by itself but pings of the server."""
    account = await town.hire()
    ws = await connect(
        town.api.socket_url,
        subprotocols=[wire.SUBPROTOCOL],  # type: ignore[list-item]
        compression=None,
        ping_interval=None,
        close_timeout=1,
        proxy=None,
        **options,  # type: ignore[arg-type]
    )
    await ws.send(wire.encode(wire.Hello(account.token)), text=True)
    assert isinstance(wire.decode_server(await ws.recv()), wire.Welcome)
    return ws


async def socket_count(town: Town) -> int:
    async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
        lines = (await client.get(f"{town.api.server}/metrics", headers=SCRAPER)).text.splitlines()
    return sum(
        int(float(line.rpartition(" ")[2])) for line in lines if line.startswith("doorstep_ws_sockets{")
    )


async def closed(ws: ClientConnection, deadline_s: float) -> tuple[int, str]:
    """Read until the server closes; its code and reason."""
    async with asyncio.timeout(deadline_s):
        with contextlib.suppress(ConnectionClosed):
            while True:
                await ws.recv()
    assert ws.close_code is not None
    return ws.close_code, ws.close_reason or ""


# -- dead peers -------------------------------------------------------------------------------------------------------


async def test_a_peer_that_answers_no_ping_is_found(street: Town) -> None:
    """Two heartbeats, so 30 s by default, whatever TCP believes: its kernel still acknowledges everything."""
    before = await socket_count(street)
    ws = await open_raw(street)
    assert await socket_count(street) == before + 1
    ws.transport.pause_reading()  # no library sees the ping, so none answers it
    began_s = time.monotonic()

    async def gone() -> bool:
        return await socket_count(street) == before

    await until(gone, 10 * HEARTBEAT_S)
    assert time.monotonic() - began_s > HEARTBEAT_S
    ws.transport.abort()


async def test_a_peer_that_answers_is_left_alone(street: Town) -> None:
    ws = await open_raw(street)
    with pytest.raises(TimeoutError):
        await closed(ws, 4 * HEARTBEAT_S)
    await ws.close()


async def test_a_connection_that_never_says_anything_is_closed(tight: LiveServer) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", tight.port)
    key = "dGhlIHNhbXBsZSBub25jZQ=="
    writer.write(
        b"GET /v1/drivers/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key.encode() + b"\r\n\r\n"
    )
    async with asyncio.timeout(15):
        assert b"101" in await reader.readline()
        while await reader.read(1000):
            pass
    writer.close()


# -- floods and slow readers ------------------------------------------------------------------------------------------


async def test_a_flooder_and_a_slow_reader_do_not_harm_the_others(street: Town, tight: LiveServer) -> None:
    phone = await street.driver()
    flooder, slow = await open_raw(street), await open_raw(street)
    flooder.transport.set_write_buffer_limits(high=2**30)
    ping = b'{"type":"location","lat":32.7,"lng":-96.8,"at":"2030-01-01T00:00:00Z","seq":%d}'
    flooder.transport.write(b"".join(text_frame(ping % seq) for seq in range(20_000)))
    question = text_frame(wire.encode(wire.TaskArrive("flooded", new_key())))
    flooder.transport.write(question)
    slow.transport.pause_reading()
    slow.transport.write(
        b"".join(text_frame(wire.encode(wire.TaskArrive("x" * 64, new_key()))) for _ in range(3_000))
    )
    took_s = []
    for _ in range(20):
        asked_s = time.monotonic()
        answer = await phone.ask(wire.TaskArrive(new_key(), new_key()))
        assert isinstance(answer, wire.Error)
        took_s.append(time.monotonic() - asked_s)
    assert sorted(took_s)[len(took_s) // 2] < 1.0
    # The others are offered work and take it meanwhile.
    order_id = await street.order()
    await phone.accept(await phone.offer())
    await street.wait_status(order_id, "ASSIGNED")
    # The flooder is read late, but it is alive and not closed.
    with pytest.raises(TimeoutError):
        await closed(flooder, 3 * HEARTBEAT_S)
    flooder.transport.abort()
    slow.transport.abort()
    assert not phone.closes


async def test_a_slow_reader_is_cut_and_welcome_again(street: Town) -> None:
    account = await street.hire()
    raw = sockets.socket()
    raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 2048)
    raw.setblocking(False)
    await asyncio.get_running_loop().sock_connect(
        raw, ("127.0.0.1", int(street.api.server.rpartition(":")[2]))
    )
    ws = await connect(
        street.api.socket_url,
        sock=raw,
        subprotocols=[wire.SUBPROTOCOL],  # type: ignore[list-item]
        compression=None,
        ping_interval=None,
        close_timeout=1,
    )
    await ws.send(wire.encode(wire.Hello(account.token)), text=True)
    welcome = wire.decode_server(await ws.recv())
    assert isinstance(welcome, wire.Welcome)
    before = await socket_count(street)
    ws.transport.pause_reading()
    # Each answer is some 250 bytes and none of them is read.
    frame = text_frame(wire.encode(wire.TaskArrive("x" * 64, new_key())))

    async def cut() -> bool:
        if not ws.transport.is_closing() and ws.transport.get_write_buffer_size() < 10_000:
            ws.transport.write(frame * 100)
        return await socket_count(street) < before

    await until(cut, 40)
    ws.transport.abort()
    phone = Phone(street, account, STORE_LAT + 0.01, STORE_LNG)
    street.phones.append(phone)
    await phone.open()
    await street.order()
    await phone.accept(await phone.offer())


# -- tokens and accounts ----------------------------------------------------------------------------------------------


_DELETED = """
WITH driver AS (DELETE FROM drivers WHERE driver_id = $1)
DELETE FROM users WHERE user_id = $1
"""


async def test_an_account_that_is_deleted_loses_its_socket(street: Town, tight: LiveServer) -> None:
    phone = await street.driver()
    await tight_sql(tight, _DELETED, phone.account.user_id)
    await phone.wait_for(lambda: phone.closes, 10)
    assert phone.closes == [1008]
    errors = [frame.code for frame in phone.frames if isinstance(frame, wire.Error)]
    assert errors == ["FORBIDDEN"]


async def tight_sql(server: LiveServer, statement: str, *values: object) -> None:
    connection = await asyncpg.connect(server._environment["DATABASE_OWNER_URL"])
    try:
        await connection.execute(statement, *values)
    finally:
        await connection.close()


# -- nonsense ---------------------------------------------------------------------------------------------------------


async def test_a_mob_of_mutants_leaves_the_server_up_and_the_neighbours_alone(
    street: Town, tight: LiveServer
) -> None:
    accounts = await asyncio.gather(*(street.hire() for _ in range(15)))
    gateway = tight.pid("gateway")
    assert gateway is not None
    process = psutil.Process(gateway)
    know(street.api.server, METRICS_TOKEN)
    made = await run_hostile(
        street.api.server,
        [account.token for account in accounts],
        HostileOptions(drivers=4, frames=5_000, calm_s=1.0, flood_s=2.0, flood_per_s=100.0, control_s=2.0),
        rss_bytes=lambda: int(process.memory_info().rss),
    )
    figures = made.figures
    assert figures["server_up"] == 1
    assert figures["neighbours_closed_count"] == 0
    assert figures["neighbours_late_count"] == 0
    assert isinstance(figures["slow_reader_gone_s"], float)
    assert tight.pid("gateway") == gateway
    read = figures["frames_read_count"]
    assert isinstance(read, int)
    assert read > 10_000  # each mutant is followed by a frame that is well
    before_mb, after_mb = figures["gateway_rss_before_mb"], figures["gateway_rss_after_mb"]
    assert isinstance(before_mb, float)
    assert isinstance(after_mb, float)
    assert after_mb - before_mb < 64


# -- a restart --------------------------------------------------------------------------------------------------------


async def test_a_restart_closes_every_socket_with_a_spread(tight: LiveServer) -> None:
    """Last in this module: it ends the server, and starts it again for the fixture to end."""
    town = await Town.found(tight.url)
    idle = [await open_raw(town) for _ in range(20)]
    phone = await town.driver()
    order_id = await town.order()
    offer = await phone.offer()
    accept = asyncio.create_task(phone.ask(wire.OfferAccept(new_key(), offer.offer_id)))
    await asyncio.sleep(0)
    closing = [asyncio.create_task(closed(ws, 30)) for ws in idle]
    began_s = time.monotonic()
    assert await asyncio.to_thread(tight.stop) == 0
    assert time.monotonic() - began_s < 30
    answer = await accept
    assert isinstance(answer, wire.OfferAccepted), answer
    ends = await asyncio.gather(*closing)
    assert {code for code, _ in ends} == {1012}
    hints = [wire.retry_after_ms(reason) for _, reason in ends]
    assert all(hint is not None and 0 <= hint <= SPREAD_S * 1000 for hint in hints)
    assert len(set(hints)) > 10
    await phone.wait_for(lambda: phone.closes)
    assert phone.closes == [1012]
    await asyncio.to_thread(tight.start)
    await town.wait_status(order_id, "ASSIGNED")
    await town.leave()

    async def has_begun() -> bool:  # before, Ctrl-C ends the start
        return tight.log().count("Ctrl-C stops the server") == 2

    await until(has_begun, 60)
