"""Customers, merchants and dispatchers of a simulated world: each order's life as far as people drive it."""

from __future__ import annotations

import asyncio
import math
from random import Random
from typing import Any, NamedTuple

from domain.errors import IdempotencyKeyReused
from domain.marketplace.party import Job, Membership
from domain.orders.lifecycle import TASK_ENDED, TASK_RELEASABLE, OrderStatus, Role
from gateway.http.auth import Principal
from sim.bot.motion import offset
from sim.world.payment_vendor import token
from sim.world.phones import AGAIN_CODES
from sim.world.surroundings import Surroundings

WAIT_S = (0.2, 3.0)  # wall time before an unanswered request is sent again
DECIDES_S = (0.1, 6.0)  # wall time that people take over a step
WATCH_S = 4.0  # wall time between a dispatcher's looks at what is stuck
STUCK_S = 1800.0  # server time after which a dispatcher calls an order off that is not picked up
SHUT_S = 400.0  # the same, for a store that is shut
HANDS_ON_SHARE = 0.3  # worlds in which a dispatcher moves tasks by hand
HANDS_S = (2.0, 20.0)  # wall time between two steps of such a one
LOST_SHARE = 0.6  # of the tasks on the road that are looked at, those whose goods got lost
AGAIN_SHARE = 0.5  # customers who order twice
IMPATIENT_SHARE = 0.15  # of payments that are made several times at once, or called off meanwhile


class Person(NamedTuple):
    """Somebody who asks, and the market that it is about."""

    id: str
    role: Role
    market: str


class People:
    """Everybody but the drivers."""

    def __init__(self, world: Surroundings, orders: int, over_s: float) -> None:
        """`orders` are placed within `over_s` seconds of wall time."""
        self._world = world
        self.placing = orders
        for number in range(orders):
            chance = Random(f"{world.seed}:order:{number}")
            world.loop.start(self._order(number, chance, chance.uniform(0, over_s)))
        world.loop.start(self._dispatcher(Random(f"{world.seed}:dispatcher")))
        if Random(f"{world.seed}:hands-on").random() < HANDS_ON_SHARE:
            world.loop.start(self._hands_on(Random(f"{world.seed}:hands")))

    async def _order(self, number: int, chance: Random, start_s: float) -> None:
        try:
            await asyncio.sleep(start_s)
            await self._life(number, chance)
        finally:
            self.placing -= 1

    async def _life(self, number: int, chance: Random) -> None:
        world = self._world
        shop = Random(f"{world.seed}:shop:{number}").choice(world.shops)
        # Some order twice, and where keys are forgotten after a while use theirs again.
        again = number % 2 and Random(f"{world.seed}:again:{number}").random() < AGAIN_SHARE
        customer = Person(world.uid(f"customer-{number - bool(again)}"), Role.CUSTOMER, shop.region_id)
        merchant = Person(shop.merchant_id, Role.MERCHANT, shop.region_id)
        name = f"o{number - (again and 'sweep' in world.faults.kinds)}"
        door = offset(shop.at, chance.uniform(-3000, 3000), chance.uniform(-3000, 3000))
        order = {
            "store_id": shop.store_id,
            "items": [{"product_id": shop.product_id, "quantity": chance.randint(1, 3)}],
            "dropoff": {"lat": door.lat, "lng": door.lng, "address": "1 Elm Street"},
        }
        status, placed = await self._do(customer, "/v1/orders", order, f"{name}-create", chance)
        if status != 201:
            return
        path = f"/v1/orders/{placed['id']}"
        if chance.random() < 0.2:
            world.loop.start(self._change_of_mind(customer, path, chance.uniform(1, 40), name, chance))
        for attempt, verdict in enumerate(_script(chance, ("pass", "under_age", "review"), 0.15)):
            body = {"vendor_token": token(verdict, customer.id)}
            status, _ = await self._do(customer, f"{path}/verify_age", body, f"{name}-age{attempt}", chance)
            if status == 200:
                break
        else:
            return
        for attempt, verdict in enumerate(_script(chance, ("ok", "declined"), 0.1)):
            body = {"vendor_token": token(verdict, placed["id"])}
            if chance.random() < IMPATIENT_SHARE:
                self._at_once(customer, path, body, f"{name}-pay{attempt}", chance)
            status, _ = await self._do(
                customer, f"{path}/payment/authorize", body, f"{name}-pay{attempt}", chance
            )
            if status == 200:
                break
        else:
            return
        desk = f"/v1/merchants/{shop.merchant_id}/stores/{shop.store_id}/orders/{placed['id']}/action"
        action: dict[str, Any] = {"action": "accept", "prep_minutes": chance.choice([0, 1, 4])}
        if chance.random() < 0.05:
            action = {"action": "reject", "reason": "OUT_OF_STOCK"}
        status, _ = await self._do(merchant, desk, action, f"{name}-merchant", chance)
        if status == 200 and chance.random() < 0.4:
            await self._do(merchant, desk, {"action": "ready"}, f"{name}-ready", chance)

    def _at_once(self, customer: Person, path: str, body: dict[str, Any], name: str, chance: Random) -> None:
        """Pay several times side by side, each as a request of its own, or call off while paying."""
        world = self._world
        for number in range(chance.randint(1, 5)):
            pay = f"{path}/payment/authorize", body, f"{name}-again{number}"
            what = (f"{path}/cancel", {}, f"{name}-off") if chance.random() < 0.1 else pay
            wait_s = chance.uniform(*DECIDES_S) if chance.random() < 0.3 else DECIDES_S[0]
            world.loop.start(self._post_after(wait_s, customer, *what, chance))

    async def _post_after(
        self, wait_s: float, who: Person, path: str, body: dict[str, Any], key: str, chance: Random
    ) -> None:
        await asyncio.sleep(wait_s)
        await self._post(who, path, body, key, chance)

    async def _change_of_mind(
        self, customer: Person, path: str, wait_s: float, name: str, chance: Random
    ) -> None:
        await asyncio.sleep(wait_s)
        await self._do(customer, f"{path}/cancel", {}, f"{name}-cancel", chance)

    async def _dispatcher(self, chance: Random) -> None:
        """Calls off what is stuck before pick-up."""
        world, asked = self._world, 0
        dispatcher_id = world.uid("dispatcher")
        while not world.over:
            await asyncio.sleep(WATCH_S)
            now_ms = world.now_s() * 1000
            for order in list(world.checker.memory.orders.values()):
                if order.status not in (OrderStatus.CONFIRMED, OrderStatus.ASSIGNED):
                    continue
                shut = world.store_shut(order.order_id)
                # Without faults nothing but a shut store is an excuse: whatever else is stuck is a bug to be seen.
                stuck_s = SHUT_S if shut else STUCK_S if world.faults.active else math.inf
                if now_ms - order.created_ms > stuck_s * 1000:
                    asked += 1
                    path = f"/v1/orders/{order.order_id}/cancel"
                    dispatcher = Person(dispatcher_id, Role.DISPATCHER, order.region_id)
                    await self._do(dispatcher, path, {"reason": "NO_DRIVER"}, f"dispatcher-{asked}", chance)

    async def _hands_on(self, chance: Random) -> None:
        """Gives tasks to drivers, takes them away, and settles what got lost on the road, at whim."""
        world, done = self._world, 0
        dispatcher_id, drivers = world.uid("dispatcher"), sorted(world.users)
        while not world.over and world.faults.active:
            await asyncio.sleep(chance.uniform(*HANDS_S))
            tasks = [task for task in world.checker.memory.tasks.values() if task.status not in TASK_ENDED]
            if not tasks:
                continue
            task, driver_id = chance.choice(tasks), chance.choice(drivers)
            body: dict[str, Any] = {"driver_id": driver_id, "reason": "BETTER_FIT"}
            if task.driver_id is None:
                step = "assign"
            elif task.status not in TASK_RELEASABLE:
                if chance.random() > LOST_SHARE:
                    continue
                outcome = chance.choice(["RETURNED_BY_OTHER", "LOST", "BROKEN"])
                step, body = "resolve", {"outcome": outcome, "evidence_ref": f"incident:{done}"}
            else:
                step = chance.choice(["reassign", "release"])
                if step == "release":
                    body = {"reason": "DRIVER_DELAYED"}
            done += 1
            dispatcher = Person(dispatcher_id, Role.DISPATCHER, task.region_id)
            status, _ = await self._do(
                dispatcher, f"/v1/tasks/{task.task_id}/{step}", body, f"hands-{done}", chance
            )
            world.checker.saw[f"by hand {step}"] += status == 200

    async def _do(
        self, who: Person, path: str, body: dict[str, Any], key: str, chance: Random
    ) -> tuple[int, dict[str, Any]]:
        """Ask, with some thought before, until there is an answer; now and then twice at once."""
        world = self._world
        await asyncio.sleep(chance.uniform(*DECIDES_S))
        if chance.random() < 0.1:
            again = key if chance.random() < 0.7 else f"{key}-other"
            world.loop.start(self._post(who, path, body, again, chance))
        while True:
            status, answer = await self._post(who, path, body, key, chance)
            if answer.get("code") == IdempotencyKeyReused.code:
                key += "+"
            elif status != 0 and answer.get("code") not in AGAIN_CODES:
                return status, answer
            await asyncio.sleep(chance.uniform(*WAIT_S))

    async def _post(
        self, who: Person, path: str, body: dict[str, Any], key: str, chance: Random
    ) -> tuple[int, dict[str, Any]]:
        member = Membership(who.id, Job.OWNER) if who.role is Role.MERCHANT else None
        principal = Principal(who.id, who.role, member=member)
        return await self._world.post(principal, path, body, key, chance, market=who.market)


def _script(chance: Random, verdicts: tuple[str, ...], trouble: float) -> list[str]:
    """Vendor verdicts of up to three attempts; the first of `verdicts` is the good one."""
    return [verdicts[0] if chance.random() > trouble else chance.choice(verdicts[1:]) for _ in range(3)]
