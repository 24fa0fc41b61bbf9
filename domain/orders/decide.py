"""What the persistence actor decides on an order's rows, while no region does.

`decide` is pure: fresh, locked state in, facts and an answer out. The store writes what comes out, in one transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TypeAlias

from msgspec.structs import replace

from domain.compliance import RULEBOOKS
from domain.errors import (
    AgeAttemptsExhausted,
    AgeCheckUnderWay,
    AgeNotVerified,
    Forbidden,
    InvalidRequest,
    MerchantNotApproved,
    NotFound,
    OutsideDeliveryArea,
    OutsideServiceArea,
    Refusal,
    StoreClosed,
    StorePaused,
    VendorUnavailable,
    VersionMismatch,
    WrongState,
)
from domain.ground.markets import MARKETS, serves
from domain.ground.times import in_ms
from domain.marketplace.earnings import Drive
from domain.marketplace.pricing import Line, price
from domain.orders.commands import (
    ITEMS_LIMIT,
    QUANTITY_LIMIT,
    TOTAL_LIMIT_CENTS,
    AbandonPayment,
    BeginAgeCheck,
    BeginPayment,
    CancelOrder,
    CloseOrder,
    CreateOrder,
    MerchantAccept,
    MerchantReject,
    OrderAction,
    OrderCommand,
    OrderItem,
    PaymentAction,
    RecordAgeCheck,
    RecordPayment,
    SettlePayment,
)
from domain.orders.hours import back_ms, return_by_ms
from domain.orders.lifecycle import (
    REGION_DECIDES,
    OrderEvent,
    OrderStatus,
    Role,
    TaskKind,
    TaskStatus,
    advance_order,
)
from domain.orders.payment_decisions import abandon_payment, begin_payment, decide_payment, not_wanted
from domain.orders.reasons import CancelReason, RejectReason, known
from domain.orders.records import AgeAttempt, Answer, CheckOutcome, OrderBrief, TaskRow
from domain.orders.settling import settle_payment
from domain.orders.state import (
    AMOUNTS,
    DECIDER_MOVED,
    Decision,
    OrderLine,
    OrderState,
    Product,
    Store,
    advance,
    answer_of,
    fact_of,
    refused,
    with_refusal,
)
from domain.region.policy import RegionPolicy

PolicyOf: TypeAlias = Callable[[str], RegionPolicy]  # what a market lives by, from its id

_POLICY = RegionPolicy()


def one_policy(_region_id: str) -> RegionPolicy:
    """The same for every market."""
    return _POLICY


def decide_create(
    command: OrderCommand,
    store: Store | None,
    products: dict[str, Product],
    policy_of: PolicyOf = one_policy,
) -> Decision:
    """A new order from fresh store and product rows. Unknown store or product, another store's product, a place outside
    the market, and a store that is closed or will be when refused goods come back are refused."""
    action = command.action
    assert isinstance(action, CreateOrder)
    try:
        if command.role is not Role.CUSTOMER:
            raise Forbidden("Only a customer can place an order.")
        if store is None:
            raise NotFound("There is no such store.")
        lines = [(_product(products, store, item), item) for item in action.items]
        if not 0 < len(lines) <= ITEMS_LIMIT or any(
            not 0 < item.quantity <= QUANTITY_LIMIT for _, item in lines
        ):
            raise InvalidRequest(
                f"An order has from 1 to {ITEMS_LIMIT} items, each with a quantity from 1 to {QUANTITY_LIMIT}."
            )
        market = MARKETS[store.region_id]
        if not serves(market, action.dropoff_lat, action.dropoff_lng):
            raise OutsideServiceArea()
        door = action.dropoff_lat, action.dropoff_lng
        _require_taken(store, command.at_ms, door)
        priced = price(
            [Line(product.price_cents, item.quantity, product.tax_class) for product, item in lines],
            market_id=store.region_id,
            store=(store.lat, store.lng),
            door=door,
            at_ms=command.at_ms,
        )
        if priced.total_cents > TOTAL_LIMIT_CENTS:
            raise InvalidRequest(f"An order comes to {TOTAL_LIMIT_CENTS // 100} dollars at most.")
        # How long packing takes, the merchant says later.
        _return_by_ms(policy_of(store.region_id), store, command.at_ms, command.at_ms, door)
    except Refusal as error:
        return Decision(answer=refused(error))
    order = OrderState(
        order_id=command.order_id,
        region_id=store.region_id,
        customer_id=command.principal_id,
        merchant_id=store.merchant_id,
        store_id=store.store_id,
        status=OrderStatus.DRAFT,
        version=1,
        min_age=RULEBOOKS[market.jurisdiction].min_age([product.category for product, _ in lines]),
        goods_cents=priced.goods_cents,
        fee_cents=priced.fee_cents,
        tax_cents=priced.tax_cents,
        tip_cents=priced.tip_cents,
        total_cents=priced.total_cents,
        items=tuple(
            OrderLine(item.product_id, item.quantity, product.price_cents, tax_cents)
            for (product, item), tax_cents in zip(lines, priced.line_taxes_cents, strict=True)
        ),
        pickup_lat=store.lat,
        pickup_lng=store.lng,
        dropoff_lat=action.dropoff_lat,
        dropoff_lng=action.dropoff_lng,
        dropoff_address=action.dropoff_address,
        created_ms=command.at_ms,
    )
    payload = {
        "store_id": order.store_id,
        **{name: getattr(order, name) for name in AMOUNTS},
        "min_age": order.min_age,
        "items": [{"product_id": item.product_id, "quantity": item.quantity} for item in order.items],
    }
    fact = fact_of(command, OrderEvent.CREATED, order.status, payload)
    return Decision(answer=answer_of(order), order=order, facts=(fact,))


def _require_taken(store: Store, at_ms: int, door: tuple[float, float]) -> None:
    """That the store takes a new order to this door."""
    if store.closed_ms is not None:
        raise StoreClosed("The store is closed for good.")
    if store.paused_until_ms is not None and at_ms < store.paused_until_ms:
        raise StorePaused()
    if store.zone is not None and not store.zone.has(*door):
        raise OutsideDeliveryArea()


def _product(products: dict[str, Product], store: Store, item: OrderItem) -> Product:
    product = products.get(item.product_id)
    if product is None or product.store_id != store.store_id:
        raise NotFound(f"The store has no product {item.product_id}.")
    return product


def decide(
    command: OrderCommand,
    order: OrderState | None,
    store: Store | None = None,
    policy_of: PolicyOf = one_policy,
    attempts: Collection[AgeAttempt] = (),
    driven: Collection[Drive] = (),
) -> Decision:
    """Decide on an existing order. A refusal is an answer, without facts unless the failure must be on record. `store`:
    the order's, which only `MerchantAccept` needs; `attempts`: the customer's, for age checks; `driven`: for the order,
    which only `SettlePayment` needs."""
    try:
        if order is None or not _may_see(command, order):
            raise NotFound("There is no such order.")
        if command.if_match is not None and order.version not in command.if_match:
            raise VersionMismatch(f"The order is at version {order.version}.")
        if order.status in REGION_DECIDES and isinstance(command.action, CancelOrder):
            return Decision(answer=DECIDER_MOVED)
        if isinstance(command.action, MerchantAccept):
            return _merchant_accept(command, command.action, order, store, policy_of(order.region_id))
        if isinstance(command.action, BeginAgeCheck):
            return _begin_age_check(command, command.action, order, attempts)
        if isinstance(command.action, RecordAgeCheck):
            return _age_check(command, command.action, order, attempts)
        if isinstance(command.action, SettlePayment):
            return settle_payment(command, order, driven, policy_of(order.region_id).money)
        return _HANDLERS[type(command.action)](command, order)
    except Refusal as error:
        if isinstance(command.action, RecordPayment) and order is not None:
            return not_wanted(command, command.action, order, error)
        return Decision(answer=refused(error))


# What an age check without a pass leaves in the dossier, and how it is answered.
_NOT_OF_AGE: dict[CheckOutcome, tuple[OrderEvent, str]] = {
    CheckOutcome.FAIL: (OrderEvent.AGE_FAILED, ""),
    CheckOutcome.REVIEW: (
        OrderEvent.AGE_UNCLEAR,
        "The vendor could not tell: a person has to look. Try again later.",
    ),
}

AGE_UNANSWERED_S = 120.0  # server time after which a vendor will not answer any more

# Those that are no try against the customer: a pass, and a vendor that was not there.
_NOT_COUNTED = frozenset({CheckOutcome.PASS, CheckOutcome.UNAVAILABLE})


def _begin_age_check(
    command: OrderCommand, action: BeginAgeCheck, order: OrderState, attempts: Collection[AgeAttempt]
) -> Decision:
    advance_order(order.status, OrderEvent.AGE_UNCLEAR, command.role)
    _require_attempts_left(command, order, attempts)
    attempt = AgeAttempt(
        attempt_id=action.attempt_id,
        customer_id=order.customer_id,
        order_id=order.order_id,
        min_age=order.min_age,
        at_ms=command.at_ms,
    )
    return Decision(answer=Answer(body={"attempt_id": action.attempt_id}), attempt=attempt)


def _age_check(
    command: OrderCommand, action: RecordAgeCheck, order: OrderState, attempts: Collection[AgeAttempt]
) -> Decision:
    begun = next((one for one in attempts if one.attempt_id == action.attempt_id), None)
    if begun is None:
        begun = _begin_age_check(command, BeginAgeCheck(action.attempt_id), order, attempts).attempt
    if begun is None or begun.order_id != order.order_id or action.outcome is CheckOutcome.ASKED:
        raise InvalidRequest("There is no such try at an age check.")
    if begun.outcome not in (CheckOutcome.ASKED, CheckOutcome.UNAVAILABLE):
        raise WrongState(f"The try came to {begun.outcome}.")
    attempt = replace(begun, outcome=action.outcome, vendor_ref=action.vendor_ref)
    if action.outcome is CheckOutcome.UNAVAILABLE:
        return Decision(answer=refused(VendorUnavailable()), attempt=attempt)
    payload = {
        "vendor_ref": action.vendor_ref,
        "min_age": order.min_age,
        "attempt_id": action.attempt_id,
        "outcome": str(action.outcome),
    }
    try:
        if action.outcome is CheckOutcome.PASS:
            _require_attempts_left(command, order, [one for one in attempts if one is not begun])
            decision = advance(
                command, order, OrderEvent.AGE_PASSED, payload, age_attempts=order.age_attempts + 1
            )
        else:
            event, detail = _NOT_OF_AGE[action.outcome]
            decision = with_refusal(
                advance(command, order, event, payload, age_attempts=order.age_attempts + 1),
                AgeNotVerified(detail),
            )
    except Refusal as error:  # the order has gone on meanwhile: the try is on record all the same
        return Decision(answer=refused(error), attempt=attempt)
    return replace(decision, attempt=attempt)


def _require_attempts_left(
    command: OrderCommand, order: OrderState, attempts: Collection[AgeAttempt]
) -> None:
    """Tries are counted by person, whichever order they were made on: a new order is no new try."""
    rulebook = RULEBOOKS[MARKETS[order.region_id].jurisdiction]
    since_ms = command.at_ms - in_ms(rulebook.age_attempts_s)
    counted = [one for one in attempts if one.at_ms > since_ms and one.outcome not in _NOT_COUNTED]
    # What was asked just now may still pass; what nobody answered since counts as a try.
    asked_ms = command.at_ms - in_ms(AGE_UNANSWERED_S)
    under_way = sum(one.outcome is CheckOutcome.ASKED and one.at_ms > asked_ms for one in counted)
    if len(counted) - under_way >= rulebook.age_attempts_limit:
        raise AgeAttemptsExhausted()
    if len(counted) >= rulebook.age_attempts_limit:
        raise AgeCheckUnderWay(retry_after_s=1)


def _merchant_accept(
    command: OrderCommand,
    action: MerchantAccept,
    order: OrderState,
    store: Store | None,
    policy: RegionPolicy,
) -> Decision:
    # The step first: what is wrong with it comes before what is wrong with the hour.
    advance_order(order.status, OrderEvent.MERCHANT_ACCEPTED, command.role)
    if store is None:
        raise NotFound("There is no such store.")
    usual_s = policy.prep_s if store.prep_min is None else store.prep_min * 60.0
    prep_s = usual_s if action.prep_s is None else action.prep_s
    ready_ms = command.at_ms + round(prep_s * 1000)
    due_ms = max(command.at_ms + round(policy.promise_s * 1000), ready_ms)
    closes_ms = _return_by_ms(policy, store, command.at_ms, ready_ms, (order.dropoff_lat, order.dropoff_lng))
    payload = {"ready_ms": ready_ms, "due_ms": due_ms, "closes_ms": closes_ms, "task_id": action.task_id}
    decision = advance(
        command, order, OrderEvent.MERCHANT_ACCEPTED, payload, ready_ms=ready_ms, due_ms=due_ms
    )
    assert decision.order is not None
    task = TaskRow(
        task_id=action.task_id,
        order_id=order.order_id,
        region_id=order.region_id,
        kind=TaskKind.DELIVERY,
        status=TaskStatus.OPEN,
        store_id=order.store_id,
        pickup_lat=order.pickup_lat,
        pickup_lng=order.pickup_lng,
        dropoff_lat=order.dropoff_lat,
        dropoff_lng=order.dropoff_lng,
        dropoff_address=order.dropoff_address,
        min_age=order.min_age,
        opened_ms=command.at_ms,
        ready_ms=ready_ms,
        due_ms=due_ms,
        closes_ms=closes_ms,
    )
    brief = OrderBrief(
        order_id=order.order_id,
        status=decision.order.status,
        customer_id=order.customer_id,
        merchant_id=order.merchant_id,
    )
    return Decision(answer=decision.answer, order=decision.order, facts=decision.facts, opened=(task, brief))


def _return_by_ms(
    policy: RegionPolicy, store: Store, at_ms: int, ready_ms: int, door: tuple[float, float]
) -> int | None:
    if not store.sells:
        raise MerchantNotApproved()
    timezone, shop = MARKETS[store.region_id].timezone, (store.lat, store.lng)
    return return_by_ms(
        store.hours,
        timezone,
        at_ms,
        lambda: back_ms(ready_ms, shop, door, policy.travel, policy.services),
        store.holidays,
    )


def _merchant_reject(command: OrderCommand, order: OrderState) -> Decision:
    assert isinstance(command.action, MerchantReject)
    return advance(
        command,
        order,
        OrderEvent.MERCHANT_REJECTED,
        {"reason": str(known(RejectReason, command.action.reason))},
    )


def _cancel(command: OrderCommand, order: OrderState) -> Decision:
    assert isinstance(command.action, CancelOrder)
    return advance(
        command, order, OrderEvent.CANCELLED, {"reason": str(known(CancelReason, command.action.reason))}
    )


def _close(command: OrderCommand, order: OrderState) -> Decision:
    assert isinstance(command.action, CloseOrder)
    try:
        return advance(command, order, OrderEvent.CLOSED, {"payment_ref": command.action.payment_ref})
    except WrongState as error:
        if order.payment_ref != command.action.payment_ref:
            raise
        # Asked at least once: whoever asks again sees that it is done.
        return Decision(answer=replace(refused(error), body=answer_of(order).body))


_HANDLERS: dict[type[OrderAction | PaymentAction], Callable[[OrderCommand, OrderState], Decision]] = {
    BeginPayment: begin_payment,
    RecordPayment: decide_payment,
    AbandonPayment: abandon_payment,
    MerchantReject: _merchant_reject,
    CancelOrder: _cancel,
    CloseOrder: _close,
}

_OWNERS = {Role.CUSTOMER: "customer_id", Role.MERCHANT: "merchant_id"}


def _may_see(command: OrderCommand, order: OrderState) -> bool:
    owner = _OWNERS.get(command.role)
    return owner is None or getattr(order, owner) == command.party_id
