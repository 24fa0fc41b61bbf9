"""No hold is left that no order has: paying twice at once, paying and cancelling at once, and a gateway that dies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from msgspec.structs import replace

from actors.config import Limits
from actors.persistence.carriers.registry import carriers
from actors.persistence.payment_holds import PaymentHolds
from actors.persistence.relay import Relay
from domain.errors import RegionUnavailable
from domain.orders.commands import BeginPayment, OrderCommand, RecordPayment
from domain.orders.lifecycle import OrderStatus
from domain.ports import Channel, PaymentResult
from domain.region.messages import TaskOpened
from integrations.fake import FakeOptions
from integrations.payment import fake
from integrations.payment.fake import FakePayment
from tests.support.build import command
from tests.support.gateway_world import Order, World, until
from tests.support.shells import Bus, HandClock

CARD, OTHER = {"vendor_token": "fake:ok"}, {"vendor_token": "fake:another"}


class Bank(FakePayment):
    """A vendor that several processes share, slow when `gate` is shut, and counts what it is asked."""

    def __init__(self) -> None:
        super().__init__(FakeOptions())
        self.gate, self.entered = asyncio.Event(), asyncio.Event()
        self.gate.set()
        self.asked: list[tuple[str, str]] = []

    async def authorize(self, **request: Any) -> PaymentResult:
        self.asked.append(("authorize", request["request_id"]))
        result = await super().authorize(**request)
        self.entered.set()
        await self.gate.wait()  # it was granted, and nobody knows yet
        return result

    async def void(self, **request: Any) -> PaymentResult:
        self.asked.append(("void", request["vendor_ref"]))
        return await super().void(**request)

    def names(self, what: str) -> list[str]:
        return [name for kind, name in self.asked if kind == what]


class Till:
    """A world with a bank, and what a persistence actor does about money."""

    def __init__(self, world: World) -> None:
        self.world, self.bank = world, Bank()
        services = world.services
        services.payment = self.bank
        # A slow machine is no slow vendor.
        services.config = replace(
            services.config, limits=replace(services.config.limits, vendor_timeout_s=60.0)
        )
        store, limits = world.backend.store, Limits(outbox_retry_s=0.01, outbox_pace_s=0.01)
        self.clock = HandClock(hand=[world.services.config.clock.now_ms()])
        self.relay = Relay(
            store,
            carriers(store, limits, bus=Bus(), payment=self.bank, tell_region=_told, clock=self.clock),
            lease_s=5.0,
        )
        self.holds = PaymentHolds(store, store.append, self.clock, limits, "persistence:0")

    async def pay(self, order: Order, card: dict[str, str] = CARD, key: str | None = None) -> str | None:
        headers = {} if key is None else {"Idempotency-Key": key}
        answer = await self.world.step(order, "payment/authorize", card, **headers)
        return None if answer.is_success else str(answer.json()["code"])

    def status(self, order: Order) -> OrderStatus:
        return self.world.backend.store.orders[order.id].status

    def own(self, order: Order) -> str | None:
        return self.world.backend.store.orders[order.id].payment_ref

    async def later(self) -> None:
        """All that is to come of it has come."""
        self.clock.forward(3600.0)
        await self.holds.look()
        await self.settled()

    async def settled(self) -> None:
        self.relay.look()
        await until(lambda: not self.world.backend.store.outbox[Channel.PAYMENTS])


async def _told(region_id: str, opened: list[TaskOpened]) -> None: ...


@pytest.fixture
async def till(world: World, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Till]:
    monkeypatch.setitem(fake.AUTHORIZED, "another", True)
    one = Till(world)
    one.relay.start()
    yield one
    await one.relay.stop()


@pytest.mark.parametrize("keys", ["none", "one", "each its own"])
async def test_six_at_once_are_one_hold(till: Till, keys: str) -> None:
    order = await till.world.order("AGE_VERIFIED")
    own = list("abcdef")
    named: dict[str, list[str | None]] = {"none": [None] * 6, "one": ["k"] * 6, "each its own": [*own]}
    till.bank.gate.clear()
    paying = [asyncio.ensure_future(till.pay(order, key=key)) for key in named[keys]]
    await until(lambda: len(till.bank.names("authorize")) == 6)
    till.bank.gate.set()
    codes = await asyncio.gather(*paying)
    assert None in codes
    await till.later()
    assert len(set(till.bank.names("authorize"))) == 1
    assert till.bank.left == [till.own(order)]
    assert till.bank.names("void") == []
    assert till.status(order) is OrderStatus.PAYMENT_AUTHORIZED


async def test_an_order_that_was_cancelled_meanwhile_lets_its_hold_go_once(till: Till) -> None:
    order = await till.world.order("AGE_VERIFIED")
    till.bank.gate.clear()
    paying = [asyncio.ensure_future(till.pay(order)) for _ in range(3)]
    await asyncio.wait_for(till.bank.entered.wait(), 5)
    assert (await till.world.step(order, "cancel")).is_success
    till.bank.gate.set()
    assert await asyncio.gather(*paying) == ["WRONG_STATE"] * 3
    await till.settled()
    await till.later()
    assert till.bank.left == []
    assert len(till.bank.names("void")) == 1


async def test_six_who_pay_and_six_who_cancel_leave_nothing(till: Till) -> None:
    for _ in range(5):
        order = await till.world.order("AGE_VERIFIED")
        await asyncio.gather(
            *(till.pay(order) for _ in range(6)), *(till.world.step(order, "cancel") for _ in range(6))
        )
        await till.later()
        assert till.status(order) is OrderStatus.CANCELLED
        assert till.bank.left == []


@pytest.mark.parametrize("cancelled", [False, True], ids=["goes on", "is cancelled"])
async def test_a_gateway_that_dies_between_yes_and_commit(
    till: Till, cancelled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = await till.world.order("AGE_VERIFIED")
    decide = till.world.services.backend.decide

    async def die(command: OrderCommand) -> Any:
        if isinstance(command.action, RecordPayment):
            raise RegionUnavailable("kill -9")
        return await decide(command)

    with monkeypatch.context() as dead:
        dead.setattr(till.world.services.backend, "decide", die)
        assert await till.pay(order) == "REGION_UNAVAILABLE"
    assert len(till.bank.left) == 1
    await till.holds.look()  # too early: it might still come
    assert len(till.bank.left) == 1
    if cancelled:
        assert (await till.world.step(order, "cancel")).is_success
    await till.later()
    assert till.bank.left == []
    if not cancelled:
        assert await till.pay(order) is None
        await till.later()
        assert till.bank.left == [till.own(order)]


async def test_who_asks_again_gets_the_hold_that_was_granted(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = await till.world.order("AGE_VERIFIED")
    authorize = till.bank.authorize

    async def silent(**request: Any) -> PaymentResult:
        await authorize(**request)
        raise TimeoutError

    with monkeypatch.context() as away:
        away.setattr(till.bank, "authorize", silent)
        assert await till.pay(order, key="k") == "VENDOR_UNAVAILABLE"
    assert await till.pay(order, key="k") is None
    await till.later()
    assert till.bank.left == [till.own(order)]
    assert len(set(till.bank.names("authorize"))) == 1


async def test_a_yes_that_comes_after_the_hold_was_given_up_is_let_go(till: Till) -> None:
    order = await till.world.order("AGE_VERIFIED")
    till.bank.gate.clear()
    number, name = await _begin(till, order)
    granted = asyncio.ensure_future(
        till.bank.authorize(request_id=name, amount_cents=1000, vendor_token="fake:ok")
    )
    await asyncio.wait_for(till.bank.entered.wait(), 5)
    await till.later()
    till.bank.gate.set()
    assert await _record(till, order, RecordPayment(True, (await granted).vendor_ref, number)) is not None
    await till.later()
    assert till.bank.left == []
    assert till.own(order) is None


async def test_another_card_waits_for_the_first_and_a_decline_frees_the_way(till: Till) -> None:
    order = await till.world.order("AGE_VERIFIED")
    till.bank.gate.clear()
    first = asyncio.ensure_future(till.pay(order))
    await asyncio.wait_for(till.bank.entered.wait(), 5)
    assert await till.pay(order, OTHER) == "PAYMENT_UNDER_WAY"
    till.bank.gate.set()
    assert await first is None

    order = await till.world.order("AGE_VERIFIED")
    assert await till.pay(order, {"vendor_token": "fake:declined"}) == "PAYMENT_DECLINED"
    assert await till.pay(order, OTHER) is None
    await till.later()
    assert till.own(order) in till.bank.left
    assert len(till.bank.left) == 2


async def test_six_declines_at_once_are_one_on_record(till: Till) -> None:
    order = await till.world.order("AGE_VERIFIED")
    till.bank.gate.clear()
    declined = {"vendor_token": "fake:declined"}
    paying = [asyncio.ensure_future(till.pay(order, declined)) for _ in range(6)]
    await until(lambda: len(till.bank.names("authorize")) == 6)
    till.bank.gate.set()
    assert set(await asyncio.gather(*paying)) == {"PAYMENT_DECLINED"}
    events = [entry.type for entry in till.world.backend.store.dossier(order.id)]
    assert events.count("PAYMENT_DECLINED") == 1
    assert till.bank.left == []


async def test_a_version_that_moved_meanwhile_lets_the_hold_go(till: Till) -> None:
    order = await till.world.order("AGE_VERIFIED")
    number, name = await _begin(till, order)
    granted = await till.bank.authorize(request_id=name, amount_cents=1000, vendor_token="fake:ok")
    record = RecordPayment(True, granted.vendor_ref, number)
    assert await _record(till, order, record, if_match=(1,)) == "VERSION_MISMATCH"
    await till.settled()
    assert till.bank.left == []


async def test_one_key_on_two_orders_never_pays_one_with_the_other(till: Till) -> None:
    dear, cheap = await till.world.order("AGE_VERIFIED"), await till.world.order("AGE_VERIFIED")
    # Of one customer: side by side, so that no answer is there to be compared with.
    row = till.world.backend.store._tables.orders
    row[dear.id] = replace(
        row[dear.id], order=replace(row[dear.id].order, customer_id=cheap.customer_id, total_cents=99_000_000)
    )
    dear.customer = cheap.customer
    codes = await asyncio.gather(till.pay(cheap, key="k"), till.pay(dear, key="k"))
    assert sorted(codes, key=str) == ["IDEMPOTENCY_KEY_REUSED", None]
    await till.later()
    for order, code in ((cheap, codes[0]), (dear, codes[1])):
        if code is not None:
            assert till.own(order) is None
            assert await till.pay(order, key="another") is None
    await till.later()
    held = {till.own(order): till.world.backend.store.orders[order.id].total_cents for order in (cheap, dear)}
    assert {ref: till.bank.holds[ref].amount_cents for ref in till.bank.left} == held


async def _begin(till: Till, order: Order) -> tuple[int, str]:

    answer = await till.world.backend.decide(_command(order, BeginPayment("card", 1000), "begin"))
    return answer.body["number"], answer.body["request_id"]


async def _record(till: Till, order: Order, action: RecordPayment, **more: Any) -> str | None:
    return (await till.world.backend.decide(_command(order, action, "record", **more))).code


def _command(order: Order, action: Any, key: str, **more: Any) -> OrderCommand:

    return command(action, who=order.customer_id, order_id=order.id, key=key, **more)
