"""What the tests of stores share: one merchant with a store in Dallas, and commands and records made by hand."""

from __future__ import annotations

import uuid
from typing import Any

from msgspec.structs import replace

from domain.marketplace.accounts import User
from domain.marketplace.products import Product
from domain.marketplace.stores import Store as StoreRow
from domain.orders import state as orders
from domain.orders.commands import (
    CreateOrder,
    MerchantAccept,
    OrderAction,
    OrderCommand,
    OrderItem,
    PaymentAction,
    RecordAgeCheck,
    RecordPayment,
)
from domain.orders.dossier import Entry
from domain.orders.hours import Hours
from domain.orders.lifecycle import OfferStatus, OrderEvent, OrderStatus, Role, TaskKind, TaskStatus
from domain.orders.records import (
    Answer,
    CheckOutcome,
    Done,
    DoorCheck,
    OfferRow,
    OrderFact,
    OutboxEvent,
    Outcome,
    Record,
    RegionRecords,
    StoredAnswer,
    TaskRow,
)
from domain.ports import Channel, Store
from persistence.orders.memory import MemoryStore
from persistence.reads.memory import MemoryReads
from persistence.reads.reads import Reads
from tests.support.marketplace import marketplace_of, put, set_hours

REGION = "tx-dfw"
START_MS = 1_750_000_000_000
# Whose events they are; all others of a region's are the driver's.
_BY = {
    OrderEvent.WRITTEN_OFF: Role.DISPATCHER,
    OrderEvent.GOODS_READY: Role.MERCHANT,
    OrderEvent.CANCELLED: Role.CUSTOMER,
    OrderEvent.RELEASED: Role.SYSTEM,
    OrderEvent.RETURN_INITIATED: Role.SYSTEM,
}


def new_id() -> str:
    return str(uuid.uuid4())


class World:
    """Speaks to one store; every command is a second after the one before."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.now_ms = START_MS
        self.merchant_id, self.customer_id, self.driver_id = new_id(), new_id(), new_id()
        self.store_id, self.beer_id, self.bread_id = new_id(), new_id(), new_id()
        self.epoch = 0
        self.reads: Reads | MemoryReads | None = None
        self.owner_url: str | None = None  # of a database; the store is of the server's role

    async def seed(self, reads: Reads | MemoryReads | None = None) -> World:
        """Put the merchant, the store and two products in, through the reads where there are some."""
        shop = StoreRow(
            store_id=self.store_id,
            merchant_id=self.merchant_id,
            region_id=REGION,
            name="Corner",
            lat=32.78,
            lng=-96.8,
            address="1 Main St",
        )
        products = [
            Product(product_id=id_, store_id=self.store_id, name=name, category=category, price_cents=price)
            for id_, name, category, price in (
                (self.beer_id, "Beer", "alcohol", 1299),
                (self.bread_id, "Bread", "general", 450),
            )
        ]
        self.reads = reads
        if isinstance(self.store, MemoryStore) and reads is None:
            self.store.add_store(
                orders.Store(
                    store_id=shop.store_id,
                    merchant_id=shop.merchant_id,
                    region_id=shop.region_id,
                    lat=shop.lat,
                    lng=shop.lng,
                ),
                [
                    orders.Product(
                        product_id=p.product_id,
                        store_id=p.store_id,
                        category=p.category,
                        price_cents=p.price_cents,
                    )
                    for p in products
                ],
            )
            return self
        assert reads is not None
        merchant = User(
            user_id=self.merchant_id,
            email=f"{self.merchant_id}@example.org",
            password_hash="-",
            role=Role.MERCHANT,
            name="Merchant",
            created_ms=START_MS,
        )
        await put(marketplace_of(reads), merchant, shop, *products)
        told = await self.store.outbox_batch(Channel.BUS, 10)  # that they are there, which no test is about
        await self.store.outbox_done([event.event_id for event in told])
        return self

    async def keep_hours(self, hours: Hours) -> None:
        """The store is open at these hours from now on."""
        if isinstance(self.store, MemoryStore) and self.reads is None:
            self.store.add_store(replace(self.store.stores[self.store_id], hours=hours))
        else:
            assert self.reads is not None
            await set_hours(marketplace_of(self.reads), self.store_id, hours)

    def tick(self) -> int:
        self.now_ms += 1000
        return self.now_ms

    # -- commands on the rows -----------------------------------------------------------------------------------------

    def command(
        self, order_id: str, action: OrderAction | PaymentAction, role: Role = Role.CUSTOMER, **fields: Any
    ) -> OrderCommand:
        principal = {Role.CUSTOMER: self.customer_id, Role.MERCHANT: self.merchant_id}.get(role, "system")
        defaults: dict[str, Any] = {
            "scope": f"{principal}|{type(action).__name__}",
            "key": new_id(),
            "fingerprint": "f",
            "role": role,
            "principal_id": principal,
            "order_id": order_id,
            "at_ms": self.tick(),
            "action": action,
        }
        return OrderCommand(**(defaults | fields))

    def create(self, order_id: str | None = None, **fields: Any) -> OrderCommand:
        action = CreateOrder(
            store_id=self.store_id,
            items=(OrderItem(self.beer_id, 2), OrderItem(self.bread_id, 1)),
            dropoff_lat=32.8,
            dropoff_lng=-96.75,
            dropoff_address="2 Elm St",
        )
        return self.command(order_id or new_id(), action, **fields)

    def age(self, order_id: str, passed: bool = True, **fields: Any) -> OrderCommand:
        outcome = CheckOutcome.PASS if passed else CheckOutcome.FAIL
        return self.command(order_id, RecordAgeCheck(new_id(), outcome, "age-1"), **fields)

    def pay(self, order_id: str, authorized: bool = True, **fields: Any) -> OrderCommand:
        return self.command(order_id, RecordPayment(authorized=authorized, vendor_ref="pay-1"), **fields)

    def accept(self, order_id: str, **fields: Any) -> OrderCommand:
        action = MerchantAccept(task_id=new_id(), prep_s=600.0)
        return self.command(order_id, action, Role.MERCHANT, **fields)

    async def append(self, *commands: OrderCommand | RegionRecords) -> list[Outcome]:
        return await self.store.append(commands)

    async def answer(self, command: OrderCommand) -> Answer:
        """The answer to one command in a batch of its own."""
        (outcome,) = await self.append(command)
        assert isinstance(outcome, Done)
        return outcome.answer

    async def draft(self) -> str:
        """A new order."""
        command = self.create()
        assert (await self.answer(command)).code is None
        return command.order_id

    async def confirmed(self) -> TaskRow:
        """A new order with its task, through one batch of four commands."""
        create = self.create()
        id_ = create.order_id
        outcomes = await self.append(create, self.age(id_), self.pay(id_), self.accept(id_))
        last = outcomes[-1]
        assert isinstance(last, Done)
        assert last.opened is not None, outcomes
        return last.opened[0]

    async def waiting(self, channel: Channel) -> list[OutboxEvent]:
        """All events of a channel that were not done."""
        return await self.store.outbox_batch(channel, 10_000)

    # -- a region's records -------------------------------------------------------------------------------------------

    async def open(self) -> None:
        self.epoch = (await self.store.open_region(REGION, self.now_ms)).epoch

    def records(self, *records: Record, epoch: int | None = None) -> RegionRecords:
        return RegionRecords(REGION, self.epoch if epoch is None else epoch, records)

    def offered(self, task: TaskRow, driver_id: str | None = None) -> tuple[Record, TaskRow, OfferRow]:
        now_ms = self.tick()
        offer = OfferRow(
            offer_id=new_id(),
            region_id=REGION,
            driver_id=driver_id or self.driver_id,
            task_ids=(task.task_id,),
            status=OfferStatus.OFFERED,
            made_ms=now_ms,
            expires_ms=now_ms + 30_000,
            features={"pickup_km": 1.5, "p_accept": 1.0},
        )
        task = replace(task, status=TaskStatus.OFFERED, offer_id=offer.offer_id)
        return Record(record_id=new_id(), tasks=(task,), offers=(offer,)), task, offer

    def expired(self, task: TaskRow, offer: OfferRow) -> tuple[Record, TaskRow, OfferRow]:
        offer = replace(offer, status=OfferStatus.EXPIRED, closed_ms=self.tick(), reason="TTL")
        task = replace(task, status=TaskStatus.OPEN, offer_id=None)
        return Record(record_id=new_id(), tasks=(task,), offers=(offer,)), task, offer

    def taken(self, task: TaskRow, offer: OfferRow) -> tuple[Record, TaskRow, OfferRow]:
        now_ms = self.tick()
        offer = replace(offer, status=OfferStatus.ACCEPTED, seen_ms=now_ms, closed_ms=now_ms)
        task = replace(task, status=TaskStatus.ASSIGNED, driver_id=offer.driver_id)
        fact = self.fact(task, OrderEvent.ASSIGNED, OrderStatus.ASSIGNED)
        stored = StoredAnswer(
            scope=f"{offer.driver_id}|Accept",
            key=new_id(),
            fingerprint="f",
            answer=Answer(body={"z": 1, "a": 2.5, "offer_id": offer.offer_id}),
            at_ms=now_ms,
        )
        record = Record(record_id=new_id(), tasks=(task,), offers=(offer,), orders=(fact,), answers=(stored,))
        return record, task, offer

    def released(self, task: TaskRow) -> tuple[Record, TaskRow]:
        """The holder was not heard of: the task is open again, the order as before."""
        fact = replace(
            self.fact(task, OrderEvent.RELEASED, OrderStatus.CONFIRMED), role=Role.SYSTEM, actor_id=REGION
        )
        task = replace(task, status=TaskStatus.OPEN, driver_id=None, offer_id=None)
        return Record(record_id=new_id(), tasks=(task,), orders=(fact,)), task

    def moved(
        self, task: TaskRow, status: TaskStatus | None, event: OrderEvent, order: OrderStatus, **fields: Any
    ) -> tuple[Record, TaskRow]:
        """A step of task and order together; `status` None leaves the task alone."""
        fact = self.fact(task, event, order)
        if status is None:
            return Record(record_id=new_id(), orders=(fact,), **fields), task
        ended = fact.at_ms if status in (TaskStatus.DONE, TaskStatus.FAILED, TaskStatus.CANCELLED) else None
        task = replace(task, status=status, ended_ms=ended)
        return Record(record_id=new_id(), tasks=(task,), orders=(fact,), **fields), task

    def fact(self, task: TaskRow, event: OrderEvent, status: OrderStatus) -> OrderFact:
        return OrderFact(
            order_id=task.order_id,
            event=event,
            status=status,
            at_ms=self.tick(),
            role=_BY.get(event, Role.DRIVER),
            actor_id=self.driver_id,
            payload={"task_id": task.task_id},
        )

    def check(self, task: TaskRow, passed: bool = True, driver_id: str | None = None) -> DoorCheck:
        return DoorCheck(
            check_id=new_id(),
            order_id=task.order_id,
            task_id=task.task_id,
            driver_id=driver_id or self.driver_id,
            passed=passed,
            over_age=passed,
            not_expired=True,
            name_matches=True,
            sober=True,
            outcome=CheckOutcome.PASS if passed else CheckOutcome.FAIL,
            method="scan",
            vendor_ref="id-1",
            at_ms=self.tick(),
        )

    def to_door(self, task: TaskRow) -> tuple[list[Record], TaskRow]:
        """Everything from the offer to the door."""
        first, task, offer = self.offered(task)
        second, task, _ = self.taken(task, offer)
        records = [first, second]
        for status, event, order in (
            (TaskStatus.AT_PICKUP, OrderEvent.ARRIVED_AT_STORE, OrderStatus.ASSIGNED),
            (TaskStatus.PICKED_UP, OrderEvent.PICKED_UP, OrderStatus.PICKED_UP),
            (TaskStatus.AT_DROPOFF, OrderEvent.ARRIVED_AT_DOOR, OrderStatus.AT_DOOR),
        ):
            record, task = self.moved(task, status, event, order)
            records.append(record)
        return records, task

    def delivered(self, task: TaskRow) -> list[Record]:
        """A passed check and the hand-over, from the door on."""
        passed, task = self.moved(
            task, None, OrderEvent.ID_PASSED, OrderStatus.ID_VERIFIED, checks=(self.check(task),)
        )
        done, _ = self.moved(task, TaskStatus.DONE, OrderEvent.DELIVERED, OrderStatus.DELIVERED)
        return [passed, done]

    def sent_back(self, task: TaskRow) -> tuple[Record, TaskRow]:
        """A failed check: the delivery has failed and a return begins, all in one record."""
        check = self.check(task, passed=False)
        failed = replace(task, status=TaskStatus.FAILED, ended_ms=self.tick())
        back = replace(
            task, task_id=new_id(), kind=TaskKind.RETURN, status=TaskStatus.PICKED_UP, offer_id=None
        )
        facts = (
            self.fact(task, OrderEvent.ID_FAILED, OrderStatus.REFUSED),
            self.fact(back, OrderEvent.RETURN_INITIATED, OrderStatus.RETURNING),
        )
        return Record(record_id=new_id(), tasks=(failed, back), orders=facts, checks=(check,)), back

    # -- looking into the store ---------------------------------------------------------------------------------------

    async def dossier(self, order_id: str) -> list[Entry]:
        if isinstance(self.store, MemoryStore):
            return self.store.dossier(order_id)
        assert self.reads is not None
        return await self.reads.dossier(order_id)

    async def status(self, order_id: str) -> tuple[str, int] | None:
        """(status, version) of an order."""
        if isinstance(self.store, MemoryStore):
            found = self.store.order(order_id)
        else:
            assert self.reads is not None
            found = await self.reads.order(order_id)
        return (str(found.status), found.version) if found else None

    async def task(self, task_id: str) -> TaskRow | None:
        if isinstance(self.store, MemoryStore):
            return self.store.tasks.get(task_id)
        assert self.reads is not None
        return await self.reads.task(task_id)
