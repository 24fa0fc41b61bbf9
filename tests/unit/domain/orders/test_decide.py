"""What is decided on an order's rows: pure decisions from fresh state."""

from __future__ import annotations

from math import ceil
from typing import Any

import pytest
from msgspec.structs import replace

from domain.compliance import RULEBOOKS
from domain.ground.travel import Haversine
from domain.orders.commands import (
    BeginAgeCheck,
    CancelOrder,
    CloseOrder,
    CreateOrder,
    MerchantAccept,
    MerchantReject,
    OrderAction,
    OrderItem,
    RecordAgeCheck,
    RecordPayment,
)
from domain.orders.decide import AGE_UNANSWERED_S, decide, decide_create, one_policy
from domain.orders.hours import Opening
from domain.orders.lifecycle import ORDER, REGION_DECIDES, OrderEvent, OrderStatus, Role, TaskKind, TaskStatus
from domain.orders.reasons import CancelReason, RejectReason
from domain.orders.records import AgeAttempt, Answer, CheckOutcome
from domain.orders.state import DECIDER_MOVED, Decision, OrderState, Store
from domain.region.policy import RegionPolicy
from tests.support.build import DOOR_AT, NOW, STORE_AT, command, order_state, products, store

ACCEPT = MerchantAccept(task_id="task-1", prep_s=300.0)


def create(*items: OrderItem, door: tuple[float, float] = DOOR_AT) -> CreateOrder:
    return CreateOrder(
        store_id="store-1",
        items=items or (OrderItem("beer", 2),),
        dropoff_lat=door[0],
        dropoff_lng=door[1],
        dropoff_address="1 Elm Street",
    )


def place(action: CreateOrder, role: Role = Role.CUSTOMER) -> Decision:
    return decide_create(command(action, role), store(), products())


def refused_without_a_trace(decision: Decision, code: str) -> bool:
    left = (decision.order, decision.facts, decision.opened, decision.attempt)
    return (decision.answer.code, left) == (code, (None, (), None, None))


# -- creation ---------------------------------------------------------------------------------------------------------


def test_a_customer_places_an_order() -> None:
    decision = place(create(OrderItem("beer", 2), OrderItem("bread", 3)))
    assert decision.order is not None
    assert decision.answer.code is None
    assert decision.answer.body == {"id": "order-1", "status": "DRAFT", "version": 1}
    # 1.08 km: the first band's fee, 8.25 % on each line and on the fee.
    order = decision.order
    parts = (order.goods_cents, order.fee_cents, order.tax_cents, order.tip_cents, order.total_cents)
    assert (parts, order.min_age) == ((5 * 1250, 499, 206 + 309 + 41, 0, 7305), 21)
    assert [(line.price_cents, line.tax_cents) for line in order.items] == [(1250, 206), (1250, 309)]
    assert (decision.order.customer_id, decision.order.merchant_id) == ("cara", "max")
    [fact] = decision.facts
    assert (fact.event, fact.status) == (OrderEvent.CREATED, OrderStatus.DRAFT)
    assert (fact.payload["fee_cents"], fact.payload["total_cents"]) == (499, 7305)
    assert fact.payload["items"] == [
        {"product_id": "beer", "quantity": 2},
        {"product_id": "bread", "quantity": 3},
    ]
    assert "address" not in str(fact.payload)


@pytest.mark.parametrize(
    ("basket", "age"),
    [(["beer"], 21), (["bread"], 0), (["bread", "beer"], 21), (["novelty"], 21), (["bread", "novelty"], 21)],
)
def test_the_age_follows_from_the_basket_and_an_unknown_category_counts_as_the_strictest(
    basket: list[str], age: int
) -> None:
    decision = place(create(*(OrderItem(product_id, 1) for product_id in basket)))
    assert decision.order is not None
    assert decision.order.min_age == age


@pytest.mark.parametrize(
    ("action", "code"),
    [
        (create(OrderItem("wine", 1)), "NOT_FOUND"),
        (create(OrderItem("beer", 0)), "INVALID_REQUEST"),
        (create(OrderItem("beer", 1001)), "INVALID_REQUEST"),
        (create(door=(29.76, -95.37)), "OUTSIDE_SERVICE_AREA"),
        (create(door=(float("nan"), 0.0)), "OUTSIDE_SERVICE_AREA"),
    ],
)
def test_an_order_that_cannot_be_is_refused(action: CreateOrder, code: str) -> None:
    assert refused_without_a_trace(place(action), code)


def test_an_order_needs_items_a_store_and_products_of_that_store() -> None:
    nothing = CreateOrder(
        store_id="store-1", items=(), dropoff_lat=DOOR_AT[0], dropoff_lng=DOOR_AT[1], dropoff_address=""
    )
    assert refused_without_a_trace(place(nothing), "INVALID_REQUEST")
    assert refused_without_a_trace(decide_create(command(create()), None, products()), "NOT_FOUND")
    elsewhere = {
        product_id: type(product)(
            product_id=product_id, store_id="store-2", category=product.category, price_cents=1
        )
        for product_id, product in products().items()
    }
    assert refused_without_a_trace(decide_create(command(create()), store(), elsewhere), "NOT_FOUND")


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.CUSTOMER])
def test_only_a_customer_places_an_order(role: Role) -> None:
    assert refused_without_a_trace(place(create(), role), "FORBIDDEN")


# -- who and which version --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "who"),
    [(Role.CUSTOMER, "carl"), (Role.MERCHANT, "mia"), (Role.CUSTOMER, "max"), (Role.MERCHANT, "cara")],
)
def test_somebody_elses_order_is_not_there(role: Role, who: str) -> None:
    for status in OrderStatus:
        decision = decide(command(CancelOrder(), role, who), order_state(status))
        assert refused_without_a_trace(decision, "NOT_FOUND"), status
    assert refused_without_a_trace(decide(command(CancelOrder()), None), "NOT_FOUND")


@pytest.mark.parametrize("status", OrderStatus)
def test_a_change_that_was_not_seen_is_refused_in_every_state(status: OrderStatus) -> None:
    decision = decide(command(CancelOrder(), if_match=(2,)), order_state(status, version=3))
    assert refused_without_a_trace(decision, "VERSION_MISMATCH")


def test_the_version_that_was_seen_is_let_through_and_rises() -> None:
    decision = decide(command(CancelOrder(), if_match=(1, 3)), order_state(version=3))
    assert decision.order is not None
    assert decision.order.version == 4
    assert decision.answer.body["version"] == 4


# -- age --------------------------------------------------------------------------------------------------------------


def tried(outcome: CheckOutcome = CheckOutcome.ASKED, n: int = 1, **fields: Any) -> AgeAttempt:
    attempt = AgeAttempt(
        attempt_id=f"try-{n}", customer_id="cara", order_id="order-1", min_age=21, at_ms=NOW, outcome=outcome
    )
    return replace(attempt, **fields)


def test_a_try_is_on_record_before_the_vendor_is_asked() -> None:
    decision = decide(command(BeginAgeCheck("try-1")), order_state())
    assert decision.answer == Answer(body={"attempt_id": "try-1"})
    assert decision.attempt == tried()
    assert (decision.order, decision.facts) == (None, ())


@pytest.mark.parametrize(
    ("outcome", "event"),
    [
        (CheckOutcome.FAIL, OrderEvent.AGE_FAILED),
        (CheckOutcome.REVIEW, OrderEvent.AGE_UNCLEAR),
    ],
)
def test_an_age_check_without_a_pass_is_on_record_and_opens_nothing(
    outcome: CheckOutcome, event: OrderEvent
) -> None:
    decision = decide(
        command(RecordAgeCheck("try-1", outcome, "age-1")), order_state(), None, one_policy, [tried()]
    )
    assert decision.answer.code == "AGE_NOT_VERIFIED"
    assert decision.order is not None
    assert (decision.order.status, decision.order.age_attempts) == (OrderStatus.DRAFT, 1)
    assert [fact.event for fact in decision.facts] == [event]
    assert decision.attempt == tried(outcome, vendor_ref="age-1")


def test_a_vendor_that_says_nothing_is_on_record_too() -> None:
    silence = command(RecordAgeCheck("try-1", CheckOutcome.UNAVAILABLE))
    decision = decide(silence, order_state(), None, one_policy, [tried()])
    assert decision.answer.code == "VENDOR_UNAVAILABLE"
    assert decision.attempt == tried(CheckOutcome.UNAVAILABLE)
    assert decision.order is None


LIMIT, WITHIN_MS = RULEBOOKS["TX"].age_attempts_limit, RULEBOOKS["TX"].age_attempts_s * 1000
COUNTED = [CheckOutcome.ASKED, CheckOutcome.FAIL, CheckOutcome.REVIEW]


@pytest.mark.parametrize("outcome", COUNTED)
def test_tries_are_counted_by_person_whichever_order_they_were_on(outcome: CheckOutcome) -> None:
    spent = [tried(outcome, n, order_id=f"other-{n}") for n in range(LIMIT)]
    code = "AGE_CHECK_UNDER_WAY" if outcome is CheckOutcome.ASKED else "AGE_ATTEMPTS_EXHAUSTED"
    begin = command(BeginAgeCheck("new"))
    assert refused_without_a_trace(decide(begin, order_state(), None, one_policy, spent), code)
    assert decide(begin, order_state(), None, one_policy, spent[1:]).attempt is not None
    late = command(RecordAgeCheck("new", CheckOutcome.PASS, "age-1"))
    assert refused_without_a_trace(decide(late, order_state(), None, one_policy, spent), code)


def test_what_nobody_answered_in_time_is_a_try_that_was_spent() -> None:
    at_ms = NOW - round(AGE_UNANSWERED_S * 1000)
    silent = [tried(CheckOutcome.ASKED, n, order_id=f"other-{n}", at_ms=at_ms) for n in range(LIMIT)]
    begin = command(BeginAgeCheck("new"))
    assert refused_without_a_trace(
        decide(begin, order_state(), None, one_policy, silent), "AGE_ATTEMPTS_EXHAUSTED"
    )


@pytest.mark.parametrize("outcome", [CheckOutcome.PASS, CheckOutcome.UNAVAILABLE])
def test_what_is_no_failure_of_a_person_is_not_counted(outcome: CheckOutcome) -> None:
    many = [tried(outcome, n) for n in range(2 * LIMIT)]
    assert decide(command(BeginAgeCheck("new")), order_state(), None, one_policy, many).attempt is not None


def test_after_a_while_tries_are_forgiven() -> None:
    old = [tried(CheckOutcome.FAIL, n, at_ms=NOW - round(WITHIN_MS)) for n in range(LIMIT)]
    assert decide(command(BeginAgeCheck("new")), order_state(), None, one_policy, old).attempt is not None


def test_a_pass_that_comes_after_the_last_failure_opens_nothing() -> None:
    """It was granted while the vendor was silent, and the tries were spent elsewhere meanwhile."""
    waiting = tried(CheckOutcome.UNAVAILABLE, 9)
    spent = [tried(CheckOutcome.FAIL, n) for n in range(LIMIT)]
    passed = command(RecordAgeCheck("try-9", CheckOutcome.PASS, "age-1"))
    decision = decide(passed, order_state(), None, one_policy, [waiting, *spent])
    assert decision.answer.code == "AGE_ATTEMPTS_EXHAUSTED"
    assert (decision.order, decision.facts) == (None, ())
    assert decision.attempt == replace(waiting, outcome=CheckOutcome.PASS, vendor_ref="age-1")


def test_the_last_attempt_may_pass() -> None:
    attempts = [tried(), *(tried(CheckOutcome.FAIL, n) for n in range(2, LIMIT + 1))]
    decision = decide(
        command(RecordAgeCheck("try-1", CheckOutcome.PASS, "a")), order_state(), None, one_policy, attempts
    )
    assert decision.answer.code is None
    assert decision.order is not None
    assert decision.order.status is OrderStatus.AGE_VERIFIED
    assert [fact.event for fact in decision.facts] == [OrderEvent.AGE_PASSED]


def test_a_try_has_one_outcome_and_is_of_one_order() -> None:
    again = command(RecordAgeCheck("try-1", CheckOutcome.PASS, "a"))
    for attempt, code in (
        (tried(CheckOutcome.FAIL), "WRONG_STATE"),
        (tried(CheckOutcome.REVIEW), "WRONG_STATE"),
        (tried(order_id="order-2"), "INVALID_REQUEST"),
    ):
        assert refused_without_a_trace(decide(again, order_state(), None, one_policy, [attempt]), code)


def test_the_age_is_verified_once() -> None:
    verified = order_state(OrderStatus.AGE_VERIFIED)
    for action in (BeginAgeCheck("new"), RecordAgeCheck("new", CheckOutcome.PASS, "a")):
        assert refused_without_a_trace(decide(command(action), verified), "WRONG_STATE")
    # A try that was under way leaves its trace all the same.
    decision = decide(
        command(RecordAgeCheck("try-1", CheckOutcome.FAIL, "a")), verified, None, one_policy, [tried()]
    )
    assert decision.answer.code == "WRONG_STATE"
    assert decision.attempt == tried(CheckOutcome.FAIL, vendor_ref="a")


# -- payment ----------------------------------------------------------------------------------------------------------


def test_an_authorized_payment_is_kept_for_settlement() -> None:
    decision = decide(command(RecordPayment(True, "pay-1")), order_state(OrderStatus.AGE_VERIFIED))
    assert decision.order is not None
    assert (decision.order.status, decision.order.payment_ref) == (OrderStatus.PAYMENT_AUTHORIZED, "pay-1")


def test_a_declined_payment_is_an_answer_with_facts() -> None:
    decision = decide(command(RecordPayment(False, "pay-1")), order_state(OrderStatus.AGE_VERIFIED))
    assert decision.answer.code == "PAYMENT_DECLINED"
    assert decision.order is not None
    assert (decision.order.status, decision.order.payment_ref) == (OrderStatus.AGE_VERIFIED, None)
    assert decision.order.version == 4
    assert [fact.event for fact in decision.facts] == [OrderEvent.PAYMENT_DECLINED]


def test_nothing_is_paid_before_the_age_is_verified() -> None:
    assert refused_without_a_trace(
        decide(command(RecordPayment(True, "pay-1")), order_state()), "WRONG_STATE"
    )


# -- merchant ---------------------------------------------------------------------------------------------------------


def merchant(action: OrderAction, order: OrderState) -> Decision:
    return decide(command(action, Role.MERCHANT, "max"), order, store())


def test_acceptance_confirms_and_opens_the_task() -> None:
    decision = merchant(ACCEPT, order_state(OrderStatus.PAYMENT_AUTHORIZED))
    assert decision.opened is not None
    task, brief = decision.opened
    assert (task.kind, task.status, task.task_id) == (TaskKind.DELIVERY, TaskStatus.OPEN, "task-1")
    assert (task.opened_ms, task.ready_ms, task.due_ms) == (NOW, NOW + 300_000, NOW + 2_700_000)
    assert (task.pickup_lat, task.dropoff_lat, task.min_age) == (32.80, 32.83, 21)
    assert (brief.status, brief.customer_id, brief.merchant_id) == (OrderStatus.CONFIRMED, "cara", "max")
    assert decision.order is not None
    assert (decision.order.ready_ms, decision.order.due_ms) == (task.ready_ms, task.due_ms)
    assert decision.facts[0].payload["task_id"] == "task-1"


def test_without_an_estimate_the_markets_default_holds() -> None:
    action = MerchantAccept(task_id="task-1", prep_s=None)
    decision = merchant(action, order_state(OrderStatus.PAYMENT_AUTHORIZED))
    assert decision.opened is not None
    assert decision.opened[0].ready_ms == NOW + 600_000


def test_nothing_is_due_before_it_is_ready() -> None:
    action = MerchantAccept(task_id="task-1", prep_s=7200.0)
    decision = merchant(action, order_state(OrderStatus.PAYMENT_AUTHORIZED))
    assert decision.opened is not None
    assert decision.opened[0].due_ms == decision.opened[0].ready_ms == NOW + 7_200_000


def test_rejection_ends_the_order_with_its_reason() -> None:
    decision = merchant(
        MerchantReject(RejectReason.OUT_OF_STOCK), order_state(OrderStatus.PAYMENT_AUTHORIZED)
    )
    assert decision.order is not None
    assert decision.order.status is OrderStatus.REJECTED
    assert decision.facts[0].payload == {"reason": "OUT_OF_STOCK"}
    assert decision.opened is None


@pytest.mark.parametrize("role", [Role.CUSTOMER, Role.DRIVER, Role.ADMIN, Role.DISPATCHER])
def test_only_the_merchant_accepts(role: Role) -> None:
    decision = decide(command(ACCEPT, role, "cara"), order_state(OrderStatus.PAYMENT_AUTHORIZED))
    assert refused_without_a_trace(decision, "FORBIDDEN")


def test_an_order_is_accepted_once() -> None:
    for status in set(OrderStatus) - {OrderStatus.PAYMENT_AUTHORIZED}:
        assert refused_without_a_trace(merchant(ACCEPT, order_state(status)), "WRONG_STATE"), status


# -- cancelling -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", OrderStatus)
def test_cancelling_in_every_state(status: OrderStatus) -> None:
    decision = decide(command(CancelOrder(CancelReason.CHANGED_MIND)), order_state(status))
    if status in REGION_DECIDES:
        assert decision == Decision(answer=DECIDER_MOVED)
    elif (status, OrderEvent.CANCELLED) in ORDER:
        assert decision.order is not None
        assert decision.order.status is OrderStatus.CANCELLED
        assert decision.facts[0].payload == {"reason": "CHANGED_MIND"}
    else:
        assert refused_without_a_trace(decision, "WRONG_STATE")


@pytest.mark.parametrize("role", Role)
def test_who_cancels(role: Role) -> None:
    who = "max" if role is Role.MERCHANT else "cara"
    decision = decide(command(CancelOrder(), role, who), order_state())
    may = role in (Role.CUSTOMER, Role.DISPATCHER, Role.ADMIN)
    assert (decision.answer.code is None) is may


def test_an_order_closes_after_delivery_by_the_system_alone() -> None:
    delivered = order_state(OrderStatus.DELIVERED)
    closed = decide(command(CloseOrder("pay-1"), Role.SYSTEM, "settlement"), delivered)
    assert closed.order is not None
    assert closed.order.status is OrderStatus.CLOSED
    assert refused_without_a_trace(decide(command(CloseOrder("pay-1")), delivered), "FORBIDDEN")
    early = decide(command(CloseOrder("pay-1"), Role.SYSTEM, "s"), order_state(OrderStatus.ID_VERIFIED))
    assert refused_without_a_trace(early, "WRONG_STATE")


# -- hours ------------------------------------------------------------------------------------------------------------

# NOW is a Sunday, 10:06:40 in Dallas. The trip takes 588 s by the default model, and two minutes pass at the door.
TRIP_S = float(Haversine().seconds(*STORE_AT, *DOOR_AT, NOW))
LOCAL_MIN = 10 * 60 + 6
OPEN_MS = NOW - 400_000  # 10:00


def open_until(minutes: float) -> Store:
    """The store, open since ten until so many minutes after 10:06."""
    return replace(store(), hours=(Opening(6, 10 * 60, LOCAL_MIN + round(minutes)),))


def late_by(order_s: float) -> int:
    """The first minute after 10:06 at which goods are back in time, that are ready so many seconds from now."""
    return ceil((order_s + 2 * TRIP_S + 120 + 40) / 60)


def test_an_order_is_placed_while_the_store_is_open_long_enough() -> None:
    first = late_by(0)
    placed = decide_create(command(create()), open_until(first), products())
    assert placed.order is not None
    late = decide_create(command(create()), open_until(first - 1), products())
    assert refused_without_a_trace(late, "TOO_LATE_TODAY")
    closed = replace(store(), hours=(Opening(6, 10 * 60 + 7, 22 * 60), Opening(5, 0, 1440)))
    assert refused_without_a_trace(decide_create(command(create()), closed, products()), "STORE_CLOSED")


def accept_at(
    shop: Store, at_ms: int = NOW, status: OrderStatus = OrderStatus.PAYMENT_AUTHORIZED
) -> Decision:
    return decide(command(ACCEPT, Role.MERCHANT, "max", at_ms=at_ms), order_state(status), shop)


def test_the_task_carries_the_closing_time_that_it_was_accepted_by() -> None:
    first = late_by(300)  # packed within five minutes
    decision = accept_at(open_until(first))
    assert decision.opened is not None
    closes_ms = OPEN_MS + (6 + first) * 60_000
    assert decision.opened[0].closes_ms == decision.facts[0].payload["closes_ms"] == closes_ms
    always = accept_at(store())
    assert always.opened is not None
    assert always.opened[0].closes_ms is always.facts[0].payload["closes_ms"] is None


def test_what_could_not_be_back_is_not_accepted() -> None:
    assert refused_without_a_trace(accept_at(open_until(late_by(300) - 1)), "TOO_LATE_TODAY")
    assert refused_without_a_trace(accept_at(open_until(60), NOW + 3_600_000), "STORE_CLOSED")
    # What is wrong with the step comes before what is wrong with the hour.
    again = accept_at(open_until(60), NOW + 3_600_000, OrderStatus.CONFIRMED)
    assert refused_without_a_trace(again, "WRONG_STATE")


def test_the_travel_times_are_those_of_the_market() -> None:
    def fast(region_id: str) -> RegionPolicy:
        assert region_id == "tx-dfw"
        return RegionPolicy(travel=Haversine(speed_mps=100.0))

    def slow(_: str) -> RegionPolicy:
        return RegionPolicy(travel=Haversine(speed_mps=1.0))

    order = order_state(OrderStatus.PAYMENT_AUTHORIZED)
    shop = open_until(late_by(300) - 10)
    assert refused_without_a_trace(accept_at(shop), "TOO_LATE_TODAY")
    assert decide(command(ACCEPT, Role.MERCHANT, "max"), order, shop, fast).opened is not None
    assert refused_without_a_trace(decide_create(command(create()), shop, products(), slow), "TOO_LATE_TODAY")


def test_estimate_and_promise_are_those_of_the_market() -> None:
    action = MerchantAccept(task_id="task-1", prep_s=None)
    order = order_state(OrderStatus.PAYMENT_AUTHORIZED)
    own = RegionPolicy(prep_s=60.0, promise_s=900.0)
    decision = decide(command(action, Role.MERCHANT, "max"), order, store(), lambda _: own)
    assert decision.opened is not None
    task, _ = decision.opened
    assert (task.ready_ms, task.due_ms) == (NOW + 60_000, NOW + 900_000)


def test_without_its_store_nothing_is_accepted() -> None:
    decision = decide(command(ACCEPT, Role.MERCHANT, "max"), order_state(OrderStatus.PAYMENT_AUTHORIZED))
    assert refused_without_a_trace(decision, "NOT_FOUND")
