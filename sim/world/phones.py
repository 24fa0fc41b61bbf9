"""Drivers of a simulated world: the demo's bot on a phone that loses its socket, with people who do as they like.

What a driver is like is a set of traits; most have none.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random
from typing import Any

from domain import protocol as wire
from domain.orders.lifecycle import TASK_HELD, TASK_RELEASABLE, Role
from domain.region.device import device_of
from gateway.http.auth import Principal
from gateway.sockets.session import DriverSocket
from sim.bot.actions import Action, Call, Resync, Send
from sim.bot.driver_bot import DriverBot
from sim.world.socket_double import SocketDouble
from sim.world.surroundings import Surroundings

TUNNEL = "tunnel"
TRAITS: dict[str, str] = {
    "sleeper": "never looks at the phone",
    "vanisher": "accepts and is not seen again, or only much later",
    "replayer": "has a phone that sends old messages again",
    "twin": "is logged in on two phones",
    "meddler": "takes steps that belong to somebody else, or too early",
    "thrifty": "uses old keys again for other orders",
    "poller": "has no socket: asks over REST how things stand, and does every step there",
    TUNNEL: "drives through tunnels, and goes on with the work there",
}
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}")
GOODS_ABOARD = TASK_HELD - TASK_RELEASABLE
REMEMBERED = 30  # sent messages that a replayer's phone keeps
AGAIN_CODES = frozenset(
    {"REGION_UNAVAILABLE", "STORE_UNAVAILABLE", "OVERLOADED", "VENDOR_UNAVAILABLE", "PAYMENT_UNDER_WAY"}
)
BUG_CODES = frozenset({"INTERNAL_ERROR", "INTERNAL_CONFLICT"})
DARK_SHARE = 0.5  # sleepers whose phone does not even show an offer
BACK_OFF_S = (0.1, 1.0)  # wall time between connections
HALF_OPEN_S = 20.0  # wall time within which a heartbeat finds a socket that is gone
MISCHIEF_S = (0.5, 4.0)  # wall time between two of a meddler's or replayer's ideas
TUNNEL_EVERY_S, TUNNEL_S = (20.0, 300.0), (10.0, 400.0)  # server seconds between tunnels, and in one


class Phone:
    """One phone. `store_shut(order_id)`: the goods cannot be had, so the driver never says that they were picked up."""

    def __init__(
        self,
        world: Surroundings,
        driver_id: str,
        token: str,
        bot: DriverBot,
        traits: frozenset[str],
        chance: Random,
        store_shut: Callable[[str], bool],
    ) -> None:
        self.driver_id, self.bot, self.traits = driver_id, bot, traits
        self.away = False
        self._underground = False
        self._world, self._token, self._chance, self._store_shut = world, token, chance, store_shut
        self._pipe: SocketDouble | None = None
        self._timer: Any = None
        self._sent: list[str] = []
        self._is_dark = "sleeper" in traits and chance.random() < DARK_SHARE
        self._ideas = 0
        self._welcomed = False  # on this socket
        self._given_up = 0  # sockets that ended before a welcome
        world.loop.outside_later(chance.uniform(0, 2), self.connect)
        if traits & {"replayer", "meddler"}:
            world.loop.outside_later(chance.uniform(*MISCHIEF_S), self._mischief)
        if TUNNEL in traits:
            self._tunnels = Random(f"{world.seed}:tunnels:{bot.name}")
            world.loop.outside_later(self._tunnels.uniform(*TUNNEL_EVERY_S) / world.speed, self._go_under)

    # -- the socket ---------------------------------------------------------------------------------------------------

    def connect(self) -> None:
        """Open a socket, unless the phone is off or has one."""
        world = self._world
        if self.away or self._underground or self._pipe is not None:
            return
        node = world.any_gateway(self._chance)
        if node is None:
            world.loop.outside_later(self._chance.uniform(*BACK_OFF_S), self.connect)
            return
        self._welcomed = False
        pipe = self._pipe = SocketDouble(world.loop, world.net, self._frame, self._closed)
        node.on_kill.append(lambda: pipe.snap(0.0, self._chance.uniform(0.001, 0.5)))

        def accept() -> None:
            if node.alive:
                node.spawn(DriverSocket(pipe, node.target.services).run())

        world.loop.outside_later(world.net.latency_s(), accept)
        hello = wire.Hello(self._token, self.bot.resume_from)
        pipe.send(wire.encode(hello).decode())
        if world.faults.strikes("socket", 0.3):
            world.loop.outside_later(world.faults.amount("socket", 0.0, 30.0), self._snap, pipe)

    def _snap(self, pipe: SocketDouble) -> None:
        half_open = self._chance.random() < 0.3
        server_s = self._chance.uniform(0, HALF_OPEN_S) if half_open else 0.0
        pipe.snap(server_s, self._chance.uniform(0, 2))

    def _closed(self, pipe: SocketDouble, code: int) -> None:
        if pipe is not self._pipe:
            return
        self._pipe = None
        self.bot.on_disconnect()
        self._world.checker.saw[f"close {code}"] += 1
        if "twin" not in self.traits:
            # A hello that was given up may be served later all the same and take over; see docs/protocol.md.
            known = code != wire.CLOSE_TAKEN_OVER or self._given_up > 0
            self._world.checker.must(known, "socket", f"{self.driver_id}'s only socket was taken over")
        self._given_up += not self._welcomed
        low, high = BACK_OFF_S
        wait_s = self._chance.uniform(low, high * (10 if code == wire.CLOSE_TAKEN_OVER else 1))
        self._world.loop.outside_later(wait_s, self.connect)
        self._act(self.bot.tick(self._world.now_s()))

    def switch_off(self) -> None:
        """Nothing is heard of this phone any more."""
        self.away = True
        self._cut(self._chance)

    def _cut(self, chance: Random) -> None:
        """The network is gone, and the server finds out in time."""
        if self._pipe is not None:
            pipe, self._pipe = self._pipe, None
            pipe.snap(chance.uniform(0, HALF_OPEN_S), 0.0)
            self._given_up += not self._welcomed
        self.bot.on_disconnect()

    def _go_under(self) -> None:
        """Into a tunnel."""
        world = self._world
        if not world.faults.active:
            return
        if not self.away:
            world.say(lambda: f"{self.driver_id} drives into a tunnel")
            world.checker.saw["tunnel"] += 1
            self._underground = True
            self._cut(self._tunnels)
            self._act(self.bot.tick(world.now_s()))
        world.loop.outside_later(self._tunnels.uniform(*TUNNEL_S) / world.speed, self._come_out)

    def _come_out(self) -> None:
        """Out of the tunnel: what was done there is sent."""
        world = self._world
        if self._underground:
            world.say(lambda: f"{self.driver_id} comes out of the tunnel")
            self._underground = False
            self.connect()
        world.loop.outside_later(self._tunnels.uniform(*TUNNEL_EVERY_S) / world.speed, self._go_under)

    def switch_on(self) -> None:
        """The phone is back."""
        self.away = False
        self.connect()

    @property
    def is_heard(self) -> bool:
        """Whether the phone is off, or has a socket that was welcomed."""
        return self.away or (self._pipe is not None and self._welcomed)

    @property
    def shown(self) -> set[str]:
        """Tasks that the phone shows as held."""
        return set(self.bot.tasks)

    @property
    def has_goods(self) -> bool:
        """Whether the driver has picked something up and not handed it over."""
        return any(held.status in GOODS_ABOARD for held in self.bot.tasks.values())

    # -- frames -------------------------------------------------------------------------------------------------------

    def _frame(self, pipe: SocketDouble, data: str) -> None:
        if pipe is not self._pipe:
            return
        world = self._world
        frame = wire.decode_server(data.encode())
        world.say(lambda: f"{self.driver_id} hears {data}")
        world.checker.heard(self.driver_id, frame)
        self._welcomed |= isinstance(frame, wire.Welcome)
        if frame.in_reply_to is not None:
            self._answered(frame.in_reply_to, frame)
        elif isinstance(frame, wire.Error) and frame.code in BUG_CODES:
            world.checker.failed(self.driver_id, "socket", frame.code, frame.detail)
        self._act(self.bot.on_frame(world.now_s(), frame))
        if isinstance(frame, wire.OfferAccepted) and "vanisher" in self.traits and world.faults.active:
            world.say(lambda: f"{self.driver_id} vanishes")
            self.switch_off()
            if self._chance.random() < 0.5:
                world.loop.outside_later(self._chance.uniform(1, 60), self.switch_on)

    def _answered(self, request_id: str, frame: wire.ServerFrame) -> None:
        checker, who = self._world.checker, f"{self.driver_id}|ws"
        if isinstance(frame, wire.Error):
            if frame.code in BUG_CODES:
                checker.failed(who, request_id, frame.code, frame.detail)
            elif frame.code not in AGAIN_CODES:
                checker.answered(who, request_id, False, frame.code)
        else:
            checker.answered(who, request_id, True, wire.encode(frame))

    def _act(self, actions: list[Action]) -> None:
        for action in actions:
            if isinstance(action, Send):
                self._send(action.frame)
            elif isinstance(action, Call):
                self._world.loop.start(self._call(action))
            elif isinstance(action, Resync) and self._pipe is not None:
                pipe, self._pipe = self._pipe, None
                pipe.hang_up()
                self._given_up += not self._welcomed
                self.bot.on_disconnect()
                self._world.loop.outside_later(self._chance.uniform(*BACK_OFF_S), self.connect)
        self._set_timer()

    def _send(self, frame: wire.ClientFrame) -> None:
        if isinstance(frame, wire.TaskPickup) and self._is_shut(frame):
            return
        if self._is_dark and isinstance(frame, wire.OfferSeen):
            return
        data = wire.encode(frame).decode()
        if not isinstance(frame, wire.Location | wire.Ack | wire.Hello):
            self._world.say(lambda: f"{self.driver_id} says {data}")
            self._sent = [*self._sent[-REMEMBERED:], data]
        if self._pipe is not None:
            self._pipe.send(data)

    def _is_shut(self, frame: wire.TaskPickup) -> bool:
        """Whether what the driver says to have picked up cannot be had."""
        held = self.bot.tasks.get(frame.task_id)
        return held is not None and self._store_shut(held.view.order_id)

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        world = self._world
        wait_s = max(0.01, (self.bot.next_wake_s() - world.now_s()) / world.speed)
        self._timer = None
        if wait_s < float("inf") and not self.away:
            at_s = world.loop.time() + wait_s
            self._timer = world.loop.call_at(at_s, self._tick, context=world.loop.outside)

    def _tick(self) -> None:
        self._timer = None
        self._act(self.bot.tick(self._world.now_s()))

    async def _call(self, call: Call) -> None:
        principal = Principal(self.driver_id, Role.DRIVER)
        device = device_of(call.at, call.n)
        # Whoever saves on keys leaves out which task it is.
        key = _UUID.sub("", call.key) if "thrifty" in self.traits else call.key
        status, body = await self._world.post(principal, call.path, call.body, key, self._chance, device)
        self._act(self.bot.on_answer(self._world.now_s(), call.key, status, body))

    # -- mischief -----------------------------------------------------------------------------------------------------

    def _mischief(self) -> None:
        if not self._world.faults.active:
            return
        self._ideas += 1
        if "replayer" in self.traits and self._sent and self._pipe is not None:
            self._world.checker.saw["replayed message"] += 1
            self._pipe.send(self._chance.choice(self._sent))
        if "meddler" in self.traits:
            self._meddle()
        self._world.loop.outside_later(self._chance.uniform(*MISCHIEF_S), self._mischief)

    def _meddle(self) -> None:
        """Take a step that is somebody else's, or whose time has not come."""
        memory, chance, key = self._world.checker.memory, self._chance, f"{self.bot.name}-m{self._ideas}"
        offers = [offer.offer_id for offer in memory.offers.values()][-3:]
        tasks = [task for task in memory.tasks.values() if task.status in TASK_HELD]
        self._world.checker.saw["meddled"] += 1
        if offers and chance.random() < 0.5:
            offer_id = chance.choice(offers)
            frame: Any = wire.OfferAccept(id=key, offer_id=offer_id)
            if chance.random() < 0.2:
                frame = wire.OfferReject(id=key, offer_id=offer_id)
            self._send(frame)
        elif tasks:
            task = chance.choice(tasks)
            others = task.driver_id != self.driver_id
            steps = [f"/v1/orders/{task.order_id}/deliver/confirm"]
            if others:
                steps += [f"/v1/tasks/{task.task_id}/{step}" for step in ("accept", "arrive", "pickup")]
                steps += [f"/v1/tasks/{task.task_id}/return/confirm"]
            self._world.loop.start(self._post(chance.choice(steps), key))

    async def _post(self, path: str, key: str) -> None:
        await self._world.post(Principal(self.driver_id, Role.DRIVER), path, {}, key, self._chance)
