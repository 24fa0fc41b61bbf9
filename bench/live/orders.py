"""What customers and the merchant do in `bench live`: one order from the click to the merchant's acceptance."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter

from bench.live.http import Rest
from bench.live.job import LiveJob
from bench.live.record import Note, Record
from bench.live.series import Series
from sim.demo.api import Reply
from sim.demo.city import build_city

READY_AFTER_S = 1.0  # from an order's moment to that of the merchant's acceptance
NEAR_STORES = 48  # stores, whose trade areas the doors are drawn from


class Checkout:
    """Places orders. `create`: time of each from when it was due to the answer; `errors`: what went wrong, by step."""

    def __init__(self, job: LiveJob, rest: Rest, record: Record, errors: Counter[str]) -> None:
        self._job, self._rest, self._record, self._errors = job, rest, record, errors
        self._city = build_city(job.seed, stores=NEAR_STORES)
        self.create = Series()

    async def order(self, number: int, due_s: float, *, measured: bool) -> None:
        """Order `number` of the run, due at `due_s` of the monotonic clock."""
        job, rng = self._job, random.Random(f"{self._job.seed}:{number}")
        customer = number % len(job.customers)
        stand = rng.choice(job.stands)
        who, key = job.customers[customer].token, f"{job.run}-{number}"
        door, address = self._city.door_near(rng, job.stands.index(stand) % len(self._city.stores))
        body = {
            "store_id": stand.store_id,
            "items": [{"product_id": stand.product_id, "quantity": 1}],
            "dropoff": {"lat": door.lat, "lng": door.lng, "address": address},
        }
        reply = await self._rest.post("/v1/orders", who, body, f"{key}-order")
        if not self.went_well("order", reply):
            return
        if measured:
            self.create.add(time.monotonic() - due_s)
        order_id = str(reply.field("id"))
        note = Note(order_id, customer, due_s + READY_AFTER_S, measured)
        self._record.orders[order_id] = note
        for what, check in (("verify_age", "fake:pass"), ("payment/authorize", "fake:ok")):
            path = f"/v1/orders/{order_id}/{what}"
            reply = await self._rest.post(path, who, {"vendor_token": check}, f"{key}-{what}")
            if not self.went_well(what, reply):
                note.refused = f"{what}: {reply.code}"
                return
        await asyncio.sleep(max(0.0, note.due_s - time.monotonic()))
        path = f"/v1/merchants/{job.merchant.user_id}/stores/{stand.store_id}/orders/{order_id}/action"
        accept = {"action": "accept", "prep_minutes": 0}
        reply = await self._rest.post(path, job.merchant.token, accept, f"{key}-accept")
        if not self.went_well("merchant accept", reply):
            note.refused = f"merchant accept: {reply.code}"

    def went_well(self, what: str, reply: Reply) -> bool:
        """Whether a step got the answer that it should; counted if not."""
        if not reply.ok:
            self._errors[f"{what}: {reply.code}"] += 1
        return reply.ok
