"""A day of money on a real database: taken once, given back never more than that, and every cent is somewhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from actors.config import Limits
from actors.persistence.carriers.payments import ToPayments
from actors.persistence.carriers.registry import carriers
from domain.errors import InvalidRequest, PeriodOverlaps, RefundTooMuch, StoreBusy, WrongState
from domain.marketplace.change import Claim, Command
from domain.marketplace.money import Party
from domain.marketplace.payouts import ClosePayout, Payout
from domain.marketplace.refunds import AskRefund, EndRefund, Refund, RefundReason, RefundStatus
from domain.orders.commands import BeginPayment, CancelOrder, RecordPayment
from domain.orders.lifecycle import Role
from domain.orders.reasons import CancelReason
from domain.orders.records import Done
from domain.ports import Channel
from integrations.fake import FakeOptions
from integrations.payment.fake import FakePayment
from persistence.marketplace.carry_out import Marketplace
from persistence.marketplace.money_check import QUESTIONS, balances, problems
from persistence.orders.postgres import PostgresStore
from persistence.reads.reads import Reads
from tests.contracts.store_world import World, new_id
from tests.support.database import server_url
from tests.support.shells import Bus, HandClock

pytestmark = pytest.mark.integration

AT_ONCE = 200  # refunds of one order


class Till:
    """A world with a bank, and the carrier that asks it."""

    def __init__(self, world: World, reads: Reads) -> None:
        self.world, self.bank = world, FakePayment(FakeOptions())
        self.marketplace = Marketplace(reads.engine)
        made = carriers(
            world.store,
            Limits(),
            bus=Bus(),
            payment=self.bank,
            tell_region=_told,
            clock=HandClock(hand=[world.now_ms]),
            records=self.marketplace,
        )
        carrier = made[Channel.PAYMENTS]
        assert isinstance(carrier, ToPayments)
        self.carrier = carrier

    async def told(self) -> list[str]:
        """Hand on what the vendor is to be asked; the reasons of what it did not take."""
        reasons = []
        for event in await self.world.waiting(Channel.PAYMENTS):
            refused = await self.carrier.carry([event])
            reasons += [error.reason for error in refused.values()]
            if not refused:
                await self.world.store.outbox_done([event.event_id])
        return reasons

    async def paid(self, script: str = "ok") -> str:
        """An order that was delivered and paid, by a card of this script."""
        world = self.world
        if not world.epoch:
            await world.open()
        create = world.create()
        order_id = create.order_id
        await world.append(create, world.age(order_id))
        begun = (await world.answer(world.command(order_id, BeginPayment("card", 0)))).body
        granted = await self.bank.authorize(
            request_id=begun["request_id"], amount_cents=begun["amount_cents"], vendor_token=f"fake:{script}"
        )
        await world.answer(world.command(order_id, RecordPayment(True, granted.vendor_ref, begun["number"])))
        [accepted] = await world.append(world.accept(order_id))
        assert isinstance(accepted, Done)
        assert accepted.opened is not None
        task = accepted.opened[0]
        records, task = world.to_door(task)
        await world.append(world.records(*records, *world.delivered(task)))
        assert await self.told() == []
        return order_id

    async def refund(self, order_id: str, cents: int | None = None, **fields: Any) -> Refund:
        given: dict[str, Any] = {
            "payment_id": order_id,
            "refund_id": new_id(),
            "amount_cents": cents,
            "with_tip": False,
            "reason": RefundReason.ITEM_MISSING,
        }
        claim = fields.pop("claim", None)
        action = AskRefund(**(given | fields))
        command = Command(
            action=action,
            actor_id=new_id(),
            role=Role.ADMIN,
            at_ms=self.world.tick(),
            owner_id=None,
            claim=claim,
            audit=True,
        )
        return (await self.marketplace.carry_out(command, lambda made: made, Refund)).view

    async def end(self, refund: Refund, is_done: bool) -> Refund:
        command = Command(
            action=EndRefund(refund_id=refund.refund_id, is_done=is_done),
            actor_id="settlement",
            role=Role.SYSTEM,
            at_ms=self.world.tick(),
            owner_id=None,
        )
        return (await self.marketplace.carry_out(command, lambda made: made, Refund)).view

    async def pay(
        self, party: Party, party_id: str, from_ms: int = 0, to_ms: int | None = None
    ) -> Payout | None:
        """Pay a party for a period, until now."""
        now_ms = self.world.tick()
        action = ClosePayout(
            payout_id=new_id(),
            party=party,
            party_id=party_id,
            from_ms=from_ms,
            to_ms=now_ms if to_ms is None else to_ms,
            rules={},
        )
        command = Command(
            action=action, actor_id=new_id(), role=Role.ADMIN, at_ms=now_ms, owner_id=None, audit=True
        )
        carried = await self.marketplace.carry_out(command, lambda made: made, object)
        assert carried.view is None or isinstance(carried.view, Payout)
        return carried.view

    async def sums(self, order_id: str) -> dict[str, int]:
        """What is on each account because of the order."""
        rows = await self.sql(
            "SELECT account, sum(amount_cents)::int AS cents FROM ledger_entries JOIN ledger_movements"
            " USING (movement_id) WHERE order_id = $1 GROUP BY account HAVING sum(amount_cents) <> 0",
            order_id,
        )
        return {row["account"]: row["cents"] for row in rows}

    async def sql(self, query: str, *values: object) -> list[asyncpg.Record]:
        connection = await asyncpg.connect(str(self.world.owner_url))
        try:
            return await connection.fetch(query, *values)
        finally:
            await connection.close()


async def found(till: Till) -> list[tuple[str, str]]:
    """What does not agree: the rule, and of what."""
    return [(one.rule, one.about) for one in await problems(till.marketplace._engine)]


async def _told(region_id: str, opened: Any) -> None: ...


@pytest.fixture
async def till(fresh_database_url: str) -> AsyncIterator[Till]:
    url = server_url(fresh_database_url)
    store, reads = PostgresStore(url), Reads.connect(url)
    world = await World(store).seed(reads)
    world.owner_url = fresh_database_url
    yield Till(world, reads)
    await reads.close()
    await store.close()


async def test_parts_come_back_until_nothing_is_left(till: Till) -> None:
    order_id = await till.paid()
    before = await till.sums(order_id)
    total = before["CLEARING"]
    first = await till.refund(order_id, 1_001)
    assert first.status is RefundStatus.PENDING
    assert (await till.sums(order_id))["REFUNDS_PAYABLE"] == -1_001
    assert await till.told() == []
    second = await till.refund(order_id, 777, reason=RefundReason.ITEM_WRONG)
    with pytest.raises(RefundTooMuch):
        await till.refund(order_id, total - 1_777)
    rest = await till.refund(order_id)
    with pytest.raises(RefundTooMuch):
        await till.refund(order_id)
    assert await till.told() == []
    [row] = await till.sql("SELECT * FROM payments WHERE order_id = $1", order_id)
    for part in ("goods", "fee", "tax"):
        assert row[f"refunded_{part}_cents"] == row[f"{part}_cents"]
        given_back = sum(getattr(one, f"{part}_cents") for one in (first, second, rest))
        assert given_back == row[f"{part}_cents"]
    after = await till.sums(order_id)
    assert after == {"DRIVER_COST": before["DRIVER_COST"], "DRIVER_PAYABLE": before["DRIVER_PAYABLE"]}
    [hold] = till.bank.holds.values()
    assert (hold.taken_cents, hold.returned_cents) == (total, total)


async def test_a_repeat_of_the_key_is_one_refund_and_operators_are_logged(till: Till) -> None:
    order_id = await till.paid()
    claim = Claim("operator|refunds", "k", "f")
    made = await asyncio.gather(*(till.refund(order_id, 500, claim=claim) for _ in range(6)))
    assert len({one.refund_id for one in made}) == 1
    assert (await till.sums(order_id))["REFUNDS_PAYABLE"] == -500
    logged = await till.sql("SELECT action FROM audit_entries WHERE aggregate_id = $1", made[0].refund_id)
    assert [row["action"] for row in logged] == ["refund.requested"]


async def test_what_the_platform_bears_the_merchant_keeps(till: Till) -> None:
    order_id = await till.paid()
    before = await till.sums(order_id)
    refund = await till.refund(order_id, reason=RefundReason.LATE)
    after = await till.sums(order_id)
    assert after["MERCHANT_PAYABLE"] == before["MERCHANT_PAYABLE"]
    assert after["LOSSES"] == refund.goods_cents


async def test_one_that_the_vendor_declines_can_be_asked_for_again(till: Till) -> None:
    order_id = await till.paid("refund_declined")
    before = await till.sums(order_id)
    await till.refund(order_id)
    assert await till.told() == []
    assert await till.sums(order_id) == before
    [row] = await till.sql("SELECT status FROM refunds")
    assert row["status"] == "FAILED"
    assert (await till.refund(order_id)).parts.total_cents > 0


async def test_one_that_takes_time_is_asked_for_until_it_is_done(till: Till) -> None:
    order_id = await till.paid("refund_pending")
    await till.refund(order_id, 300)
    assert await till.told() == ["the vendor is not done with the refund"]
    assert (await till.sums(order_id))["REFUNDS_PAYABLE"] == -300
    assert await till.told() == []
    assert "REFUNDS_PAYABLE" not in await till.sums(order_id)


async def test_a_vendor_that_fails_leaves_it_promised(till: Till) -> None:
    order_id = await till.paid("refund_error")
    await till.refund(order_id, 300)
    assert await till.told() == ["VendorError"]
    assert (await till.sums(order_id))["REFUNDS_PAYABLE"] == -300


async def test_one_that_comes_back_later_is_as_if_it_had_never_been(till: Till) -> None:
    order_id = await till.paid("refund_fails_later")
    before = await till.sums(order_id)
    refund = await till.refund(order_id)
    assert await till.told() == []
    failed = await till.end(refund, is_done=False)
    assert failed.status is RefundStatus.FAILED
    assert await till.end(failed, is_done=False) == failed
    with pytest.raises(WrongState):
        await till.end(failed, is_done=True)
    assert await till.sums(order_id) == before


async def test_refunds_at_once_never_come_to_more_than_was_taken(till: Till) -> None:
    order_id = await till.paid()
    total = (await till.sums(order_id))["CLEARING"]

    async def one(cents: int) -> int:
        for _ in range(100):
            try:
                return (await till.refund(order_id, cents)).parts.total_cents
            except RefundTooMuch:
                return 0
            except StoreBusy:
                continue
        raise AssertionError("busy for ever")

    given_back = sum(await asyncio.gather(*(one(31 + n % 7) for n in range(AT_ONCE))))
    assert 0 < total - given_back < 38 or given_back == total
    [row] = await till.sql("SELECT sum(goods_cents + fee_cents + tax_cents)::int AS cents FROM refunds")
    assert row["cents"] == given_back
    assert (await till.sums(order_id))["REFUNDS_PAYABLE"] == -given_back


async def test_the_database_bounds_refunds_whatever_the_code_says(till: Till) -> None:
    order_id = await till.paid()
    refund = await till.refund(order_id)
    columns = {**{name: getattr(refund, name) for name in refund.__struct_fields__}, "refund_id": new_id()}
    connection = await asyncpg.connect(server_url(str(till.world.owner_url)))
    names, places = ", ".join(columns), ", ".join(f"${n + 1}" for n in range(len(columns)))
    try:
        with pytest.raises(asyncpg.CheckViolationError) as caught:
            await connection.execute(f"INSERT INTO refunds ({names}) VALUES ({places})", *columns.values())
        assert str(caught.value.constraint_name).startswith("ck_payments_refunded_")
        for statement in ("UPDATE refunds SET goods_cents = 1", "DELETE FROM refunds"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
    finally:
        await connection.close()


async def test_a_day_of_money_agrees_to_the_cent(till: Till) -> None:
    """Delivered, refunded in part, declined, failing later, let go, under way: the check finds nothing."""
    first, declined, later = (
        await till.paid(),
        await till.paid("refund_declined"),
        await till.paid("refund_fails_later"),
    )
    await till.refund(first, 500)
    await till.refund(declined)
    came_back = await till.refund(later)
    assert await till.told() == []
    await till.end(came_back, is_done=False)
    await till.refund(first, 300)  # still on its way
    world = till.world
    cancelled = await world.draft()
    await world.append(world.age(cancelled), world.pay(cancelled))
    await world.append(world.command(cancelled, CancelOrder(CancelReason.CHANGED_MIND)))
    under_way = await world.draft()
    await world.append(world.age(under_way), world.pay(under_way))
    assert await found(till) == []
    sums = await balances(till.marketplace._engine)
    assert sum(sums.values()) == 0
    assert sums["REFUNDS_PAYABLE"] == -300


# What an owner would do to the rows so that a rule bites, and the table whose triggers stand in the way.
TAMPERED = {
    "every movement sums to zero": (
        "ledger_entries",
        "UPDATE ledger_entries SET amount_cents = amount_cents + 1 WHERE account = 'PLATFORM_REVENUE'",
    ),
    "what was taken of an order is what it came to": (
        "ledger_movements",
        "UPDATE ledger_movements SET reason = 'TIP_CAPTURED' WHERE reason = 'ORDER_CAPTURED'",
    ),
    "nothing is taken of an order that was not delivered": (
        "orders",
        "UPDATE orders SET status = 'RETURNED'",
    ),
    "no hold without an order that needs it": (
        "ledger_movements",
        "UPDATE ledger_movements SET order_id = NULL WHERE reason = 'ORDER_CAPTURED'",
    ),
    "every order that was paid for has its hold": ("orders", "UPDATE orders SET status = 'CONFIRMED'"),
    "a payment is what the ledger has of it": (
        "payments",
        "UPDATE payments SET goods_cents = goods_cents + 1",
    ),
    "a payment counts its refunds": ("payments", "UPDATE payments SET refunded_goods_cents = 0"),
    "what is owed to customers is what refunds still have to bring": (
        "refunds",
        "UPDATE refunds SET status = 'DONE', ended_ms = 1",
    ),
    "a payout is what the ledger has of it": ("payouts", "UPDATE payouts SET work_cents = work_cents + 1"),
    "pay is what the ledger has of it": ("earnings", "UPDATE earnings SET order_cents = order_cents + 1"),
}


async def test_every_rule_of_the_check_bites(till: Till) -> None:
    assert TAMPERED.keys() == QUESTIONS.keys()
    order_id = await till.paid()
    await till.refund(order_id, 500)
    assert await till.pay(Party.MERCHANT, till.world.merchant_id) is not None
    connection = await asyncpg.connect(str(till.world.owner_url))
    try:
        for rule, (table, change) in TAMPERED.items():
            assert await found(till) == []
            await connection.execute("BEGIN")
            await connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
            await connection.execute(change)
            rows = await connection.fetch(QUESTIONS[rule])
            await connection.execute("ROLLBACK")
            assert rows, rule
    finally:
        await connection.close()


async def test_a_party_is_paid_once_for_a_period_whoever_asks_at_once(till: Till) -> None:
    order_id = await till.paid()
    merchant_id, driver_id = till.world.merchant_id, till.world.driver_id
    owed = await till.sums(order_id)
    end_ms = till.world.tick()
    paid = await asyncio.gather(*(till.pay(Party.MERCHANT, merchant_id, 0, end_ms) for _ in range(8)))
    assert len({one.payout_id for one in paid if one is not None}) == 1
    assert paid[0] is not None
    assert paid[0].total_cents == -owed["MERCHANT_PAYABLE"]
    with pytest.raises(PeriodOverlaps):
        await till.pay(Party.MERCHANT, merchant_id, 1, end_ms)
    with pytest.raises(InvalidRequest):
        await till.pay(Party.MERCHANT, merchant_id, end_ms, till.world.now_ms + 3_600_000)
    assert await till.pay(Party.MERCHANT, merchant_id, end_ms) is None  # nothing is owed any more

    statements = till.marketplace.statements
    assert await statements.owed_cents(Party.MERCHANT, merchant_id) == 0
    assert await statements.owed_parties(Party.MERCHANT, till.world.now_ms, 10) == []
    assert await statements.owed_parties(Party.DRIVER, till.world.now_ms, 10) == [driver_id]
    [earned] = await statements.earned(driver_id, None, 10)
    assert earned.earning.total_cents == owed["DRIVER_COST"]
    lines = await statements.lines(Party.MERCHANT, merchant_id, 0, 2**62, None, 1)
    assert [line.reason for line in lines] == ["PAID_OUT", "ORDER_CAPTURED"]
    after = (lines[0].at_ms, lines[0].movement_id)
    assert await statements.lines(Party.MERCHANT, merchant_id, 0, 2**62, after, 1) == lines[1:]


async def test_what_comes_back_after_a_payout_is_carried_to_the_next(till: Till) -> None:
    first = await till.paid()
    merchant_id = till.world.merchant_id
    paid = await till.pay(Party.MERCHANT, merchant_id)
    assert paid is not None
    await till.refund(first)  # the merchant owes what it was paid
    assert await till.told() == []
    assert await till.pay(Party.MERCHANT, merchant_id, paid.to_ms) is None
    await till.paid()
    await till.paid()
    later = await till.pay(Party.MERCHANT, merchant_id, till.world.now_ms)
    assert later is not None
    assert later.total_cents == paid.total_cents  # of two orders, less the one that was given back
    assert await found(till) == []


async def test_pay_is_raised_to_the_guarantee_once(till: Till) -> None:
    order_id = await till.paid()
    driver_id = till.world.driver_id
    await till.sql("ALTER TABLE earnings DISABLE TRIGGER USER")
    await till.sql("UPDATE earnings SET begun_ms = ended_ms - 7200000")  # two hours
    await till.sql("ALTER TABLE earnings ENABLE ALWAYS TRIGGER earnings_append_only")
    pay_cents = (await till.sums(order_id))["DRIVER_COST"]
    paid = await till.pay(Party.DRIVER, driver_id)
    assert paid is not None
    assert (paid.guarantee_cents, paid.work_cents) == (3_000 - pay_cents, 3_000)
    assert await till.pay(Party.DRIVER, driver_id, 0, paid.to_ms) == paid
    assert await till.marketplace.statements.owed_cents(Party.DRIVER, driver_id) == 0
    assert await till.pay(Party.DRIVER, driver_id, paid.to_ms) is None
