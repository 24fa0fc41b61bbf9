"""Drivers without a socket: the same bot, which asks over REST how things stand and does every step there.

What is polled comes to the bot as a welcome, and each answer as the frame that a socket would have brought.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from domain import protocol as wire
from domain.ground.times import instant
from domain.orders.lifecycle import Role
from domain.region.device import device_of
from gateway.deciders.collector import Unavailable
from gateway.http.auth import Principal
from sim.bot.actions import Resync
from sim.world.phones import Phone

POLL_S = (0.2, 0.5)  # wall time between two looks, well within an offer's time
ASK_TIMEOUT_S = 5.0  # wall time after which a look is given up

# Frame -> where it is posted, and its body.
_STEPS = {
    wire.OfferAccept: "accept",
    wire.OfferReject: "reject",
    wire.TaskArrive: "arrive",
    wire.TaskPickup: "pickup",
}


class Poller(Phone):
    """One phone that polls."""

    _looking = False
    _duty: wire.Duty | None = None  # as last said
    _at: wire.Location | None = None

    def connect(self) -> None:
        """Begin to look, unless it does or the phone is off."""
        if not (self.away or self._underground or self._looking):
            self._looking = True
            self._under_way: set[str] = set()
            self._offered: dict[str, str] = {}  # offer -> a task of it
            self._world.loop.start(self._look_on())

    @property
    def is_heard(self) -> bool:
        """Whether the phone is off, or has had an answer to its last look."""
        return self.away or self._welcomed

    def _cut(self, chance: Any) -> None:
        self._looking = self._welcomed = False
        self.bot.on_disconnect()

    async def _look_on(self) -> None:
        world, principal, sent = self._world, Principal(self.driver_id, Role.DRIVER), 0
        while self._looking and not world.over:
            await asyncio.sleep(self._chance.uniform(*POLL_S))
            try:
                async with asyncio.timeout(ASK_TIMEOUT_S):
                    gateway = self._chance.choice(world.gateways)
                    found = await world.net.call(gateway, "current", principal)
            except (Unavailable, TimeoutError):
                self._welcomed = False
                self.bot.on_disconnect()
                continue
            if not self._looking:
                return
            self._see(found)
            if self._duty is not None:
                sent += 1
                await self._say_where(principal, f"{self.bot.name}-duty{sent}")

    async def _say_where(self, principal: Principal, key: str) -> None:
        assert self._duty is not None
        here = self._at or self._duty
        body = {"on": self._duty.on, "lat": here.lat, "lng": here.lng}
        await self._world.post(principal, f"/v1/drivers/{self.driver_id}/duty", body, key, self._chance)

    def _see(self, found: dict[str, Any]) -> None:
        world = self._world
        snapshot = wire.Snapshot(
            offers=msgspec.convert(found["offers"], tuple[wire.OfferView, ...]),
            tasks=msgspec.convert(found["tasks"], tuple[wire.TaskView, ...]),
            last_seq=0,
        )
        self._offered = {offer.offer_id: offer.tasks[0].task_id for offer in snapshot.offers if offer.tasks}
        duty, self._welcomed = self._duty, True
        welcome = wire.Welcome(
            driver_id=self.driver_id,
            heartbeat_s=world.limits.ws_heartbeat_s,
            resumed=False,
            snapshot=snapshot,
            server_time=instant(round(world.now_s() * 1000)),
            speed=world.speed,
        )
        world.checker.saw["polled"] += 1
        world.checker.heard(self.driver_id, welcome)
        self._act(self.bot.on_frame(world.now_s(), welcome))
        self._duty = self._duty or duty

    def _act(self, actions: list[Any]) -> None:
        # The next look says how things stand anyway.
        super()._act([action for action in actions if not isinstance(action, Resync)])

    def _send(self, frame: wire.ClientFrame) -> None:
        if isinstance(frame, wire.Duty):
            self._duty = frame
        elif isinstance(frame, wire.Location):
            self._at = frame
        elif (step := _STEPS.get(type(frame))) is not None and frame.id not in self._under_way:  # type: ignore[union-attr]
            self._world.loop.start(self._step(step, frame))

    async def _step(self, step: str, frame: Any) -> None:
        if step == "pickup" and self._is_shut(frame):
            return
        world, key = self._world, frame.id
        task_id = self._offered.get(frame.offer_id) if step in ("accept", "reject") else frame.task_id
        if task_id is None:
            return
        self._under_way.add(key)
        body: dict[str, Any] = {"reason": str(frame.reason)} if step == "reject" and frame.reason else {}
        if step in ("arrive", "pickup"):
            body = {"lat": frame.lat, "lng": frame.lng, "override": frame.override}
        principal, device = Principal(self.driver_id, Role.DRIVER), device_of(frame.at, frame.n)
        path = f"/v1/tasks/{task_id}/{step}"
        status, answer = await world.post(principal, path, body, key, self._chance, device)
        self._under_way.discard(key)
        self._act(self.bot.on_frame(world.now_s(), _as_frame(key, step, status, answer)))


def _as_frame(key: str, step: str, status: int, answer: dict[str, Any]) -> wire.ServerFrame:
    if status != 200:
        code = str(answer.get("code", "REGION_UNAVAILABLE"))
        return wire.Error(code=code, detail="", retry_after_s=1, in_reply_to=key)
    if step == "accept":
        tasks = msgspec.convert(answer["tasks"], tuple[wire.TaskView, ...])
        return wire.OfferAccepted(offer_id=answer["offer_id"], tasks=tasks, in_reply_to=key)
    if step == "reject":
        return wire.OfferRejected(offer_id=answer["offer_id"], in_reply_to=key)
    return wire.TaskUpdated(task=msgspec.convert(answer["task"], wire.TaskView), in_reply_to=key)
