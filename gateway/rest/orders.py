"""An order's life, from the customer's side and at the door."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from fastapi import APIRouter
from starlette.responses import Response

from domain.errors import AgeCheckUnderWay, VendorUnavailable
from domain.ground.times import instant
from domain.orders.decide import (
    BeginAgeCheck,
    BeginPayment,
    CancelOrder,
    CreateOrder,
    OrderItem,
    RecordAgeCheck,
    RecordPayment,
)
from domain.orders.dossier import verify
from domain.orders.lifecycle import OrderStatus
from domain.orders.records import Answer, CheckOutcome
from domain.ports import Verdict
from domain.region.messages import Cancel as CancelTask
from domain.region.messages import Deliver, NoteIdCheck, SubmitIdCheck
from domain.region.messages import Refuse as RefuseAtDoor
from gateway.http.auth import Customer, Driver, SignedIn
from gateway.http.idempotency import DriverStep, Mutation
from gateway.http.problem import refusals
from gateway.rest.kit.answers import Parts, Uid, answered, etag, first_answer, json_response, once
from gateway.rest.kit.deciding import (
    about,
    ask_vendor,
    check_version,
    decide,
    digest,
    order_for,
    payment_patience_ms,
    wrong_state,
)
from gateway.rest.kit.fast_route import FastRoute
from gateway.rest.kit.lists import Page, order_page, order_view
from gateway.rest.models import (
    Cancel,
    DoorCheck,
    NewOrder,
    OrderPage,
    OrderRef,
    OrderView,
    Refuse,
    VendorCheck,
)
from gateway.rest.notes import keep_note

TURN_PAUSE_S = 0.05  # between two tries of an age check to have its turn

router = APIRouter(tags=["orders"], route_class=FastRoute)

_OUTCOMES = {
    Verdict.PASS: CheckOutcome.PASS,
    Verdict.FAIL: CheckOutcome.FAIL,
    Verdict.REVIEW: CheckOutcome.REVIEW,
}
_STEP = ("FORBIDDEN", "NOT_FOUND", "WRONG_STATE", "VERSION_MISMATCH")


@router.post(
    "/v1/orders",
    status_code=201,
    response_model=OrderRef,
    responses=refusals(
        "FORBIDDEN", "NOT_FOUND", "OUTSIDE_SERVICE_AREA", "STORE_CLOSED", "TOO_LATE_TODAY", mutation=True
    ),
)
async def create(body: NewOrder, customer: Customer, call: Mutation, services: Parts) -> Response:
    """Place an order with a store. It starts as a draft: verify age, then authorize payment."""
    call.covers(body)
    action = CreateOrder(
        store_id=str(body.store_id),
        items=tuple(OrderItem(str(item.product_id), item.quantity) for item in body.items),
        dropoff_lat=body.dropoff.lat,
        dropoff_lng=body.dropoff.lng,
        dropoff_address=body.dropoff.address,
    )
    command = call.command(services.new_id(), services.config.clock.now_ms(), action)
    first = await first_answer(services, call)
    answer = await services.backend.decide(command) if first is None else first
    # Of two at the same moment the decider gives one the other's answer: that of another order than its own.
    return answered(answer, 201, replayed=answer.body.get("id") != command.order_id)


@router.get("/v1/orders", response_model=OrderPage, responses=refusals())
async def own_orders(principal: SignedIn, page: Page, services: Parts) -> Response:
    """Your orders, newest first: what you ordered, what your stores got, what you bring; operators see all."""
    return json_response(await order_page(services, principal, page))


@router.get("/v1/orders/{order_id}", response_model=OrderView, responses=refusals("NOT_FOUND"))
async def read(order_id: Uid, principal: SignedIn, services: Parts) -> Response:
    """One order. The ETag is its version, for If-Match."""
    order = await order_for(services, principal, str(order_id))
    return json_response(order_view(order), headers=etag(order.version))


@router.post(
    "/v1/orders/{order_id}/verify_age",
    response_model=OrderRef,
    responses=refusals(
        *_STEP,
        *("AGE_NOT_VERIFIED", "AGE_ATTEMPTS_EXHAUSTED", "AGE_CHECK_UNDER_WAY", "VENDOR_UNAVAILABLE"),
        mutation=True,
    ),
)
async def verify_age(
    order_id: Uid, body: VendorCheck, customer: Customer, call: Mutation, services: Parts
) -> Response:
    """Have the identity vendor check the customer's age. Only a clear pass passes."""
    call.covers(body)
    now_ms = services.config.clock.now_ms

    async def now() -> Answer:
        order = await order_for(services, customer, str(order_id))
        check_version(call, order)
        if order.status != OrderStatus.DRAFT:
            raise wrong_state(order)
        decide_now = services.backend.decide
        # On record before the vendor is asked, so that tries side by side are counted as well.
        begun = await _in_turn(
            lambda part: decide_now(
                call.part(part).command(order.order_id, now_ms(), BeginAgeCheck(services.new_id()))
            ),
            services.config.limits.vendor_timeout_s,
        )
        if begun.code is not None:
            return begun
        attempt_id = str(begun.body["attempt_id"])
        try:
            result = await ask_vendor(
                services,
                "identity",
                services.identity.verify_age(
                    request_id=about(order, "age", body.vendor_token),
                    vendor_token=body.vendor_token,
                    min_age=order.min_age,
                ),
            )
        except VendorUnavailable:
            # Not the answer to this key: a repeat asks the vendor again.
            silence = RecordAgeCheck(attempt_id, CheckOutcome.UNAVAILABLE)
            await decide_now(call.part(services.new_id()).command(order.order_id, now_ms(), silence))
            raise
        said = RecordAgeCheck(attempt_id, _OUTCOMES[result.verdict], result.vendor_ref)
        return await decide_now(call.command(order.order_id, now_ms(), said, any_version=True))

    return await once(services, call, now)


async def _in_turn(begin: Callable[[str], Awaitable[Answer]], patience_s: float) -> Answer:
    """What `begin` says, by the name of the part that it is; again while as many checks of the person are under way as
    attempts are left, for as long as they may take."""
    loop = asyncio.get_running_loop()
    until_s, number = loop.time() + patience_s, 0
    while True:
        answer = await begin(f"begin {number}" if number else "begin")
        number += 1
        if answer.code != AgeCheckUnderWay.code or loop.time() >= until_s:
            return answer
        await asyncio.sleep(TURN_PAUSE_S)


@router.post(
    "/v1/orders/{order_id}/payment/authorize",
    response_model=OrderRef,
    responses=refusals(*_STEP, "PAYMENT_DECLINED", "PAYMENT_UNDER_WAY", "VENDOR_UNAVAILABLE", mutation=True),
)
async def authorize(
    order_id: Uid, body: VendorCheck, customer: Customer, call: Mutation, services: Parts
) -> Response:
    """Authorize the order's total with the payment vendor."""
    call.covers(body)

    async def now() -> Answer:
        order = await order_for(services, customer, str(order_id))
        check_version(call, order)
        if order.status != OrderStatus.AGE_VERIFIED:
            raise wrong_state(order)
        # On the order's row before the vendor is asked: whatever becomes of this process, somebody sees to the hold.
        begin = BeginPayment(digest(order.order_id, body.vendor_token), payment_patience_ms(services))
        begun = await services.backend.decide(
            call.command(order.order_id, services.config.clock.now_ms(), begin)
        )
        if "request_id" not in begun.body:
            return begun  # refused, or the first answer to this key
        result = await ask_vendor(
            services,
            "payment",
            services.payment.authorize(
                request_id=begun.body["request_id"],
                amount_cents=begun.body["amount_cents"],
                vendor_token=body.vendor_token,
            ),
        )
        action = RecordPayment(result.ok, result.vendor_ref, begun.body["number"])
        return await services.backend.decide(
            call.command(order.order_id, services.config.clock.now_ms(), action)
        )

    return await once(services, call, now)


@router.post(
    "/v1/orders/{order_id}/cancel", response_model=OrderRef, responses=refusals(*_STEP, mutation=True)
)
async def cancel(
    order_id: Uid, principal: SignedIn, call: Mutation, services: Parts, body: Cancel | None = None
) -> Response:
    """Call the order off before the goods are picked up."""
    body = body or Cancel()
    call.covers(body, but="note")

    async def now() -> Answer:
        rows, region = CancelOrder(body.reason), CancelTask(str(order_id), body.reason)
        return await decide(services, call, str(order_id), rows=rows, region=region)

    response = await once(services, call, now)
    await keep_note(services, call, str(order_id), "cancel", body.note)
    return response


@router.post(
    "/v1/orders/{order_id}/doorstep_id_check/submit",
    response_model=OrderRef,
    responses=refusals(
        *_STEP,
        "OUT_OF_ORDER",
        "ID_CHECK_INCONCLUSIVE",
        "VENDOR_UNAVAILABLE",
        mutation=True,
    ),
)
async def submit_id_check(
    order_id: Uid, body: DoorCheck, driver: Driver, call: DriverStep, services: Parts
) -> Response:
    """Check the customer's ID at the door, as the driver who holds the task. A failed check starts the return."""
    call.covers(body)

    async def now() -> Answer:
        # Looked at before the vendor is asked, so that nobody but the holder can make it look; decided by the region.
        order = await order_for(services, driver, str(order_id))
        check_version(call, order)
        if order.status != OrderStatus.AT_DOOR:
            raise wrong_state(order)

        def note(outcome: CheckOutcome, vendor_ref: str = "") -> NoteIdCheck:
            return NoteIdCheck(order.order_id, outcome, body.sober, body.method, vendor_ref)

        try:
            result = await ask_vendor(
                services,
                "identity",
                services.identity.check_id(
                    request_id=about(order, "id", body.vendor_token),
                    vendor_token=body.vendor_token,
                    min_age=order.min_age,
                ),
            )
        except VendorUnavailable:
            # Not the answer to this key: a repeat asks the vendor again.
            apart = call.part(services.new_id())
            await decide(services, apart, order.order_id, rows=None, region=note(CheckOutcome.UNAVAILABLE))
            raise
        flags = (result.over_age, result.not_expired, result.name_matches)
        # A verdict that its own flags contradict is no verdict.
        if result.verdict is Verdict.REVIEW or (result.verdict is Verdict.FAIL and all(flags)):
            unclear = note(CheckOutcome.REVIEW, result.vendor_ref)
            return await decide(services, call, order.order_id, rows=None, region=unclear)
        check = SubmitIdCheck(
            order_id=order.order_id,
            over_age=result.over_age,
            not_expired=result.not_expired,
            name_matches=result.name_matches,
            sober=body.sober,
            method=body.method,
            vendor_ref=result.vendor_ref,
        )
        return await decide(services, call, order.order_id, rows=None, region=check)

    return await once(services, call, now)


@router.post(
    "/v1/orders/{order_id}/deliver/confirm",
    response_model=OrderRef,
    responses=refusals(*_STEP, "OUT_OF_ORDER", mutation=True),
)
async def deliver(order_id: Uid, driver: Driver, call: DriverStep, services: Parts) -> Response:
    """The goods were handed over, after a passed ID check, by the driver who holds the task."""
    order = str(order_id)
    return await once(services, call, lambda: decide(services, call, order, rows=None, region=Deliver(order)))


@router.post(
    "/v1/orders/{order_id}/refuse",
    response_model=OrderRef,
    responses=refusals(*_STEP, "OUT_OF_ORDER", mutation=True),
)
async def refuse(order_id: Uid, body: Refuse, driver: Driver, call: DriverStep, services: Parts) -> Response:
    """The goods are not handed over: they go back to the store, with the same driver."""
    call.covers(body, but="note")
    order = str(order_id)
    response = await once(
        services,
        call,
        lambda: decide(services, call, order, rows=None, region=RefuseAtDoor(order, body.reason)),
    )
    await keep_note(services, call, order, "refuse", body.note)
    return response


@router.get("/v1/orders/{order_id}/dossier", responses=refusals("NOT_FOUND"))
async def dossier(order_id: Uid, principal: SignedIn, services: Parts) -> Response:
    """The order's hash-chained events. See docs/architecture.md for how anyone can verify them offline."""
    await order_for(services, principal, str(order_id))
    entries = await services.reads.dossier(str(order_id))
    return json_response(
        {
            "order_id": str(order_id),
            "events": [
                {
                    "order_id": entry.order_id,
                    "seq": entry.seq,
                    "type": entry.type,
                    "status": entry.status,
                    "at_ms": entry.at_ms,
                    "at": instant(entry.at_ms),
                    "actor": entry.actor,
                    "payload": entry.payload,
                    "prev_hash": entry.prev_hash.hex(),
                    "hash": entry.hash.hex(),
                }
                for entry in entries
            ],
        }
    )


@router.get("/v1/orders/{order_id}/dossier/verify", responses=refusals("NOT_FOUND"))
async def verify_dossier(order_id: Uid, principal: SignedIn, services: Parts) -> Response:
    """Check the order's chain now: every link and every hash."""
    await order_for(services, principal, str(order_id))
    return json_response(verify(await services.reads.dossier(str(order_id))))
