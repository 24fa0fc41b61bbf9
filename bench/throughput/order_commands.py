"""Lives of orders as durable commands, for `bench writes`: what gateways and regions hand to a persistence actor.

Placed, age verified, paid, accepted by the merchant (commands on the rows); offered, taken by the driver, at the store,
picked up, at the door (records of a region). Each is a row change with its dossier event, its outbox row and, but for
the offer and the driver's steps, a stored answer.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from random import Random

from msgspec import Struct
from msgspec.structs import replace

from domain.ground.markets import MARKETS
from domain.marketplace.accounts import OpenAccount, User
from domain.marketplace.change import Command, by_operator
from domain.marketplace.merchants import Apply, MoveMerchant
from domain.marketplace.party import Job, Membership
from domain.marketplace.products import AddProducts, Product
from domain.marketplace.review import ReviewEvent
from domain.marketplace.stores import OpenStore
from domain.orders.commands import (
    CreateOrder,
    MerchantAccept,
    OrderAction,
    OrderCommand,
    OrderItem,
    RecordAgeCheck,
    RecordPayment,
)
from domain.orders.lifecycle import OfferStatus, OrderEvent, OrderStatus, Role, TaskStatus
from domain.orders.records import Answer, CheckOutcome, OfferRow, OrderFact, Record, StoredAnswer, TaskRow
from persistence.marketplace.carry_out import Marketplace
from persistence.reads.reads import Reads

CREATED_MS = 0  # of accounts; nobody reads it
OFFER_TTL_MS = 30_000
STEPS_COUNT = 9  # commands in a life
# As many as a region writes down (`solver.objective`).
_FEATURES = ("pickup_km", "detour_km", "wait_min", "late_min", "p_accept", "earned_usd", "cost", "rank")
_DRIVES = (
    (TaskStatus.AT_PICKUP, OrderEvent.ARRIVED_AT_STORE, OrderStatus.ASSIGNED),
    (TaskStatus.PICKED_UP, OrderEvent.PICKED_UP, OrderStatus.PICKED_UP),
    (TaskStatus.AT_DROPOFF, OrderEvent.ARRIVED_AT_DOOR, OrderStatus.AT_DOOR),
)


class Shop(Struct, frozen=True):
    """A store in a market, with one thing to sell."""

    region_id: str
    store_id: str
    merchant_id: str
    product_id: str
    lat: float
    lng: float


async def open_shop(reads: Reads, region_id: str, chance: Random) -> Shop:
    """A merchant with a store in the middle of the market, open at any hour."""
    market = MARKETS[region_id]
    merchant, store, product = (new_id(chance) for _ in range(3))
    marketplace = Marketplace(reads.engine)
    user = User(
        user_id=merchant,
        email=f"{merchant}@example.org",
        password_hash="-",
        role=Role.MERCHANT,
        name="Bench",
        created_ms=CREATED_MS,
    )
    opening = OpenStore(
        store_id=store,
        region_id=region_id,
        name="Bench",
        lat=market.lat,
        lng=market.lng,
        address="1 Main St",
    )
    beer = Product(product_id=product, store_id=store, name="Beer", category="alcohol", price_cents=1299)
    application = Apply(merchant_id=merchant, name="Bench", legal_name="Bench", address="1 Main St")
    for action in (OpenAccount(user), application, opening, AddProducts(store, (beer,))):
        command = Command(
            action=action,
            actor_id=merchant,
            role=Role.MERCHANT,
            at_ms=CREATED_MS,
            owner_id=merchant,
            member=Membership(merchant, Job.OWNER),
        )
        await marketplace.carry_out(command, lambda _: {}, dict)
    approval = MoveMerchant(merchant_id=merchant, event=ReviewEvent.APPROVED)
    await marketplace.carry_out(by_operator(approval, CREATED_MS, "bench"), lambda _: {}, dict)
    return Shop(region_id, store, merchant, product, market.lat, market.lng)


class Life:
    """One order. `commands` ends when the task must be known; `opened` is given it, and `records` goes on."""

    def __init__(self, shop: Shop, chance: Random, now_ms: int) -> None:
        self._shop, self._chance, self._now_ms = shop, chance, now_ms
        self.order_id, self._customer_id, self._driver_id = (new_id(chance) for _ in range(3))

    def commands(self) -> Iterator[OrderCommand]:
        """From the order to the merchant's acceptance."""
        shop = self._shop
        yield self._command(
            Role.CUSTOMER,
            CreateOrder(
                store_id=shop.store_id,
                items=(OrderItem(shop.product_id, 2),),
                dropoff_lat=shop.lat + 0.03,
                dropoff_lng=shop.lng + 0.02,
                dropoff_address="12 Elm St, Apartment 4",
            ),
        )
        yield self._command(
            Role.CUSTOMER, RecordAgeCheck(new_id(self._chance), CheckOutcome.PASS, "age:0123456789")
        )
        yield self._command(Role.CUSTOMER, RecordPayment(authorized=True, vendor_ref="pay:0123456789"))
        task_id = new_id(self._chance)
        yield self._command(
            Role.MERCHANT,
            MerchantAccept(task_id=task_id, prep_s=600.0),
        )

    def records(self, task: TaskRow) -> Iterator[Record]:
        """From the offer to the door."""
        chance = self._chance
        offer = OfferRow(
            offer_id=new_id(chance),
            region_id=task.region_id,
            driver_id=self._driver_id,
            task_ids=(task.task_id,),
            status=OfferStatus.OFFERED,
            made_ms=self._tick(),
            expires_ms=self._now_ms + OFFER_TTL_MS,
            features={name: round(chance.random(), 3) for name in _FEATURES},
        )
        task = replace(task, status=TaskStatus.OFFERED, offer_id=offer.offer_id)
        yield Record(record_id=new_id(chance), tasks=(task,), offers=(offer,))
        at_ms = self._tick()
        offer = replace(offer, status=OfferStatus.ACCEPTED, seen_ms=at_ms, closed_ms=at_ms)
        task = replace(task, status=TaskStatus.ASSIGNED, driver_id=self._driver_id)
        fact = self._fact(task, OrderEvent.ASSIGNED, OrderStatus.ASSIGNED)
        stored = StoredAnswer(
            scope=f"{self._driver_id}|offer.accept",
            key=new_id(chance),
            fingerprint="0" * 64,
            answer=Answer(body={"offer_id": offer.offer_id, "task_ids": [task.task_id]}),
            at_ms=at_ms,
        )
        yield Record(
            record_id=new_id(chance), tasks=(task,), offers=(offer,), orders=(fact,), answers=(stored,)
        )
        for status, event, order in _DRIVES:
            task = replace(task, status=status)
            yield Record(record_id=new_id(chance), tasks=(task,), orders=(self._fact(task, event, order),))

    def _tick(self) -> int:
        self._now_ms += 1
        return self._now_ms

    def _command(self, role: Role, action: OrderAction) -> OrderCommand:
        principal_id = self._shop.merchant_id if role is Role.MERCHANT else self._customer_id
        return OrderCommand(
            scope=f"{principal_id}|POST /v1/orders/{{order_id}}/{type(action).__name__}",
            key=new_id(self._chance),
            fingerprint="0" * 64,
            role=role,
            principal_id=principal_id,
            order_id=self.order_id,
            at_ms=self._tick(),
            action=action,
        )

    def _fact(self, task: TaskRow, event: OrderEvent, status: OrderStatus) -> OrderFact:
        return OrderFact(
            order_id=task.order_id,
            event=event,
            status=status,
            at_ms=self._tick(),
            role=Role.DRIVER,
            actor_id=self._driver_id,
            payload={"task_id": task.task_id},
        )


def new_id(chance: Random) -> str:
    """A random UUID."""
    return str(uuid.UUID(int=chance.getrandbits(128), version=4))
