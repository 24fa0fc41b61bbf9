"""Customers and merchants: from the click to the packed bag, over the public REST interface."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from sim.bot.motion import Point
from sim.demo.api import Account, Api
from sim.demo.clock import ServerTime
from sim.demo.tally import OrderNote, Tally

AGE_TRIES = 2  # how often a customer who is under age tries before giving up


class Shop(Struct, kw_only=True):
    """A store on the server with something to sell."""

    store_id: str
    name: str
    merchant: Account
    point: Point
    product_ids: tuple[str, ...]


class OrderPlan(Struct, frozen=True, kw_only=True):
    """An order to be placed at `at_s`, packed at `ready_s` (server seconds). `number` is unique in its run."""

    number: int
    at_s: float
    ready_s: float
    shop: Shop
    customer: Account
    door: Point
    address: str
    items: tuple[tuple[str, int], ...]  # product id, quantity
    under_age: bool


class Clerk:
    """Carries orders through checkout and the merchant's hands. `run` is unique: idempotency keys are made from it."""

    def __init__(self, api: Api, clock: ServerTime, books: Tally, run: str) -> None:
        self._api, self._clock, self._books, self._run = api, clock, books, run

    async def serve(self, plan: OrderPlan) -> str | None:
        """One order until its goods are packed. The order's id, None if it was not placed."""
        await self._clock.sleep_until(plan.at_s)
        api, customer = self._api, plan.customer
        reply = await api.request(
            "POST",
            "/v1/orders",
            account=customer,
            key=self._key(plan, "order"),
            body={
                "store_id": plan.shop.store_id,
                "items": [
                    {"product_id": product_id, "quantity": quantity} for product_id, quantity in plan.items
                ],
                "dropoff": {"lat": plan.door.lat, "lng": plan.door.lng, "address": plan.address},
            },
        )
        if not reply.ok:
            self._failed("order", reply.code)
            return None
        order_id = str(reply.field("id"))
        self._books.placed(OrderNote(order_id=order_id, customer=customer, placed_s=plan.at_s))
        if plan.under_age:
            await self._turned_away(plan, order_id)
            return order_id
        if not await self._step(plan, order_id, "verify_age", {"vendor_token": "fake:pass"}):
            return order_id
        if not await self._step(plan, order_id, "payment/authorize", {"vendor_token": "fake:ok"}):
            return order_id
        prep_minutes = round(max(0.0, plan.ready_s - self._clock.now_s()) / 60, 2)
        if await self._merchant(plan, order_id, {"action": "accept", "prep_minutes": prep_minutes}):
            await self._clock.sleep_until(plan.ready_s)
            # The driver may be off with the goods or the order called off by now: both are refused, and rightly.
            await self._merchant(plan, order_id, {"action": "ready"}, expected=("WRONG_STATE", "NOT_FOUND"))
        return order_id

    async def _turned_away(self, plan: OrderPlan, order_id: str) -> None:
        """The age check fails; the customer tries once more and gives up."""
        path = f"/v1/orders/{order_id}/verify_age"
        for attempt in range(AGE_TRIES):
            reply = await self._api.request(
                "POST",
                path,
                account=plan.customer,
                key=self._key(plan, f"age{attempt}"),
                body={"vendor_token": "fake:fail"},
            )
            if reply.ok or reply.code not in ("AGE_NOT_VERIFIED", "AGE_ATTEMPTS_EXHAUSTED"):
                self._failed("verify_age of a minor", reply.code)
        if await self._step(plan, order_id, "cancel", {"reason": "AGE_NOT_VERIFIED"}):
            self._books.told("under_age", order_id, self._clock.now_s())

    async def _step(self, plan: OrderPlan, order_id: str, step: str, body: dict[str, Any]) -> bool:
        path = f"/v1/orders/{order_id}/{step}"
        reply = await self._api.request(
            "POST", path, account=plan.customer, key=self._key(plan, step), body=body
        )
        if not reply.ok:
            self._failed(step, reply.code)
        return reply.ok

    async def _merchant(
        self, plan: OrderPlan, order_id: str, body: dict[str, Any], expected: tuple[str, ...] = ()
    ) -> bool:
        shop = plan.shop
        path = f"/v1/merchants/{shop.merchant.merchant_id}/stores/{shop.store_id}/orders/{order_id}/action"
        key = self._key(plan, str(body["action"]))
        reply = await self._api.request("POST", path, account=shop.merchant, key=key, body=body)
        if not reply.ok and reply.code not in expected:
            self._failed(f"merchant {body['action']}", reply.code)
        return reply.ok

    def _failed(self, step: str, code: str) -> None:
        """A step that should have gone well did not: the run is not a success."""
        self._books.count["not_placed"] += 1
        self._books.count[f"failed: {step}: {code}"] += 1

    def _key(self, plan: OrderPlan, step: str) -> str:
        return f"{self._run}-{plan.number}-{step}"
