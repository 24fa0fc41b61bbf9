"""Drivers at work while something is killed or restarted under them."""

from __future__ import annotations

import asyncio

from domain import protocol as wire
from tests.integration.live import Phone, Town, new_key, until


class Crew:
    """Drivers who take whatever is offered to the door. `order_ids`: all orders that were placed with `order`."""

    def __init__(self, town: Town, phones: list[Phone]) -> None:
        self.phones = phones
        self.order_ids: set[str] = set()
        self._town = town
        self._waiting: set[str] = set()  # not delivered yet
        self._drives = [asyncio.create_task(self._drive(phone)) for phone in phones]

    @classmethod
    async def at_work(cls, town: Town, drivers: int, *, reconnect: bool = False) -> Crew:
        """So many drivers on duty and as many orders, of which one at least has been accepted."""
        crew = cls(
            town,
            [await town.driver(reconnect=reconnect, away=0.005 * i) for i in range(1, drivers + 1)],
        )
        for _ in range(drivers):
            await crew.order()

        async def some_accepted() -> bool:
            return bool(crew.accepted)

        await until(some_accepted, 30)
        return crew

    async def order(self) -> None:
        """One more order, confirmed by its store."""
        order_id = await self._town.order()
        self.order_ids.add(order_id)
        self._waiting.add(order_id)

    async def delivered(self, deadline_s: float) -> None:
        """Wait until every order is at its door, and end the drivers' work. Raises what went wrong with one of them."""

        async def all_delivered() -> bool:
            for drive in self._drives:
                if drive.done():
                    drive.result()  # a driver never stops by itself, so this raises
            return not self._waiting

        try:
            await until(all_delivered, deadline_s)
        finally:
            for drive in self._drives:
                drive.cancel()

    @property
    def accepted(self) -> list[tuple[str, str]]:
        """Order and driver of every task that a driver was told to have."""
        return [
            (task.order_id, phone.account.user_id)
            for phone in self.phones
            for frame in phone.frames
            if isinstance(frame, wire.OfferAccepted)
            for task in frame.tasks
        ]

    async def assert_nothing_lost_or_twice(self) -> None:
        """What drivers were told against what is on record: each order was accepted, and its one driver of record, who
        delivered it, is one who was told so."""
        accepted = set(self.accepted)
        assert {order_id for order_id, _ in accepted} == self.order_ids
        assert len(accepted) == len(self.order_ids), "two drivers have accepted the same order"
        for order_id, driver_id in accepted:
            types = await self._town.dossier_types(order_id)  # the chain verifies
            assert types.count("TASK_ASSIGNED") == types.count("DELIVERED") == 1
            dossier = await self._town.get(f"/v1/orders/{order_id}/dossier", self._town.customer)
            actors = [
                event["actor"]
                for event in dossier["events"]
                if event["type"] in ("TASK_ASSIGNED", "DELIVERED")
            ]
            assert actors == [f"driver:{driver_id}"] * 2

    async def _drive(self, phone: Phone) -> None:
        while True:
            offer = await phone.offer(deadline_s=60)
            answer = await phone.ask(wire.OfferAccept(new_key(), offer.offer_id), deadline_s=30)
            if not isinstance(answer, wire.OfferAccepted):
                assert isinstance(answer, wire.Error)
                assert answer.code in ("OFFER_TAKEN", "OFFER_EXPIRED")
                continue
            for task in answer.tasks:  # a bundle is taken whole
                await phone.step(wire.TaskArrive, task.task_id)
                await phone.step(wire.TaskPickup, task.task_id)
            for task in answer.tasks:
                await phone.step(wire.TaskArrive, task.task_id)
                assert (await phone.check_id(task.order_id)).ok
                assert (await phone.deliver(task.order_id)).ok
                self._waiting.discard(task.order_id)
