"""A driver's shell: one real socket, dumb. It decodes, asks the bot, and carries out what the bot says."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import suppress

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, WebSocketException

from domain import protocol as wire
from sim.bot.actions import Action, Call, Resync, Send, Told
from sim.bot.driver_bot import DriverBot
from sim.demo.api import Account, Api, ServerRefused
from sim.demo.clock import ServerTime

CONNECT_TIMEOUT_S = 20.0  # wall; a storm of reconnects may keep a server busy for a while
SHORTEST_S = 0.01  # wall time between two looks at what to do in a tunnel
BACK_OFF_MIN_S, BACK_OFF_MAX_S = 0.2, 5.0
TAKEN_OVER_WAIT_S, TAKEN_OVER_LIMIT = 5.0, 3  # wall time, and times in a row until somebody else is signed in


class DriverClient:
    """Runs one bot on sockets until its shift is over, reconnecting as often as it takes.

    `told(kind, order_id, now_s)` hears of every order that ended in this driver's hands; `accept_s` gets the wall time
    from each accept sent to its durable answer.
    """

    def __init__(
        self,
        *,
        api: Api,
        clock: ServerTime,
        account: Account,
        bot: DriverBot,
        told: Callable[[str, str, float], None],
        accept_s: Callable[[float], None] | None = None,
    ) -> None:
        self.bot, self.account = bot, account
        self.connected = False
        self._api, self._clock, self._told, self._accept_s = api, clock, told, accept_s
        self._ws: ClientConnection | None = None
        self._timeout: asyncio.Timeout | None = None
        self._calls: set[asyncio.Task[None]] = set()
        self._accepts: dict[str, float] = {}
        self._welcomed = False
        self._told_s: float | None = None  # wall seconds until the next connection, as the server has said
        self._tunnel_s = float("inf")  # when the next tunnel begins, server seconds

    async def run(self) -> None:
        """The whole shift."""
        await self._clock.sleep_until(self.bot.on_s)
        self._tunnel_s = self._next_tunnel_s()
        wait_s, again, overtaken = BACK_OFF_MIN_S, False, 0
        try:
            while not self.bot.done:
                self._welcomed = False
                code = await self._connect_once(again)
                again = True
                self._forget_socket()
                if self.bot.done:
                    return
                if self._clock.now_s() >= self._tunnel_s:
                    await self._drive_through()
                    again = False
                    continue
                if code == wire.CLOSE_TAKEN_OVER:
                    # Perhaps by a hello of our own that was given up and served late; see docs/protocol.md.
                    self.bot.stats["taken_over"] += 1
                    overtaken += 1
                    if overtaken == TAKEN_OVER_LIMIT:
                        return
                    await asyncio.sleep(TAKEN_OVER_WAIT_S)
                    continue
                overtaken = 0
                if code == wire.CLOSE_TOKEN_EXPIRED or (code == 1008 and not self._welcomed):
                    await self._renew()
                wait_s = BACK_OFF_MIN_S if self._welcomed else min(BACK_OFF_MAX_S, wait_s * 2)
                told_s, self._told_s = self._told_s, None
                await asyncio.sleep(wait_s * random.uniform(0.5, 1.5) if told_s is None else told_s)
                await self._carry_out(self.bot.tick(self._clock.now_s()))
        finally:
            self._forget_socket()
            for call in self._calls:
                call.cancel()

    async def _connect_once(self, again: bool) -> int:
        """Open a socket and serve it to its end; returns the close code, 0 when there was no connection."""
        try:
            async with connect(
                self._api.socket_url,
                subprotocols=[wire.SUBPROTOCOL],  # type: ignore[list-item]
                compression=None,  # frames are small: deflating them costs more than it saves
                open_timeout=CONNECT_TIMEOUT_S,
                close_timeout=2,
                proxy=None,
            ) as ws:
                self._ws, self.connected = ws, True
                self.bot.stats["reconnects"] += again
                await self._serve(ws)
        except ConnectionClosed as closed:
            if closed.rcvd is None:
                return 1006
            after_ms = wire.retry_after_ms(closed.rcvd.reason)
            self._told_s = None if after_ms is None else after_ms / 1000
            return closed.rcvd.code
        except (OSError, TimeoutError, InvalidHandshake, WebSocketException):
            self.bot.stats["failed_connects"] += 1
            return 0
        return 1000

    async def _serve(self, ws: ClientConnection) -> None:
        await ws.send(wire.encode(wire.Hello(self.account.token, self.bot.resume_from)), text=True)
        bot, clock = self.bot, self._clock
        while not bot.done and clock.now_s() < self._tunnel_s:
            try:
                wake_s = min(bot.next_wake_s(), self._tunnel_s)
                async with asyncio.timeout(clock.wall_until(wake_s)) as self._timeout:
                    raw = await ws.recv()
            except TimeoutError:
                actions = bot.tick(clock.now_s())
            else:
                actions = self._take(raw)
            finally:
                self._timeout = None
            await self._carry_out(actions)
            await asyncio.sleep(0)  # a full inbox must not keep the other drivers of this process waiting
        if not bot.done:
            ws.transport.abort()  # the tunnel begins: nobody says goodbye

    async def _drive_through(self) -> None:
        """No network for a while, in which the driver goes on; what is done there is sent afterwards."""
        bot, clock = self.bot, self._clock
        bot.stats["tunnels"] += 1
        end_s = clock.now_s() + random.uniform(0.5, 1.5) * bot.persona.tunnel_s
        while clock.now_s() < end_s and not bot.done:
            await self._carry_out(bot.tick(clock.now_s()))
            await asyncio.sleep(max(SHORTEST_S, clock.wall_until(min(end_s, bot.next_wake_s()))))
        self._tunnel_s = self._next_tunnel_s()

    def _next_tunnel_s(self) -> float:
        return self._clock.now_s() + random.uniform(0.5, 1.5) * self.bot.persona.tunnel_every_s

    def _take(self, raw: str | bytes) -> list[Action]:
        try:
            frame = wire.decode_server(raw)
        except msgspec.MsgspecError:
            self.bot.stats["unknown_frames"] += 1
            return []
        if isinstance(frame, wire.Welcome):
            self._welcomed = True
        elif isinstance(frame, wire.AuthExpired):
            task = asyncio.create_task(self._prove())
            self._calls.add(task)
            task.add_done_callback(self._calls.discard)
        elif isinstance(frame, wire.OfferAccepted) and frame.in_reply_to in self._accepts:
            took_s = time.perf_counter() - self._accepts.pop(frame.in_reply_to)
            if self._accept_s is not None:
                self._accept_s(took_s)
        return self.bot.on_frame(self._clock.now_s(), frame)

    async def _carry_out(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Send(frame=frame):
                    if self._ws is not None:
                        if isinstance(frame, wire.OfferAccept) and self._accept_s is not None:
                            self._accepts.setdefault(frame.id, time.perf_counter())
                        await self._ws.send(wire.encode(frame), text=True)
                case Call():
                    task = asyncio.create_task(self._call(action))
                    self._calls.add(task)
                    task.add_done_callback(self._calls.discard)
                case Told(kind=kind, order_id=order_id):
                    self._told(kind, order_id, self._clock.now_s())
                case Resync():
                    if self._ws is not None:
                        await self._ws.close()

    async def _call(self, call: Call) -> None:
        try:
            headers = {} if call.at is None else {"Device-At": call.at.isoformat(), "Device-N": str(call.n)}
            reply = await self._api.request(
                "POST", call.path, account=self.account, body=call.body, key=call.key, headers=headers
            )
            status, body = reply.status, reply.body if isinstance(reply.body, dict) else {}
        except ServerRefused:  # not even a new token could be had
            status, body = 0, {}
        actions = self.bot.on_answer(self._clock.now_s(), call.key, status, body)
        with suppress(
            ConnectionClosed
        ):  # the reading loop sees it too; what was unsent goes after the next welcome
            await self._carry_out(actions)
        self._wake_in(self._clock.wall_until(self.bot.next_wake_s()))

    def end_shift(self) -> None:
        """Take no more offers, finish what is held, hang up."""
        self.bot.end_shift(self._clock.now_s())
        self._wake_in(0.0)

    def _wake_in(self, wall_s: float) -> None:
        if self._timeout is not None and not self._timeout.expired():
            self._timeout.reschedule(asyncio.get_running_loop().time() + wall_s)

    async def _renew(self) -> None:
        try:
            await self._api.renew(self.account)
        except ServerRefused:
            self.bot.stats["sign_in_refused"] += 1

    async def _prove(self) -> None:
        """A fresh token for the open socket."""
        await self._renew()
        if self._ws is not None:
            with suppress(ConnectionClosed):
                await self._ws.send(wire.encode(wire.Auth("auth", self.account.token)), text=True)

    def _forget_socket(self) -> None:
        self._ws, self.connected = None, False
        self.bot.on_disconnect()
