"""An order's life, from the customer's side and at the door."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from starlette.responses import Response

from domain.errors import AgeCheckUnderWay, VendorUnavailable
from domain.ground.times import instant
from domain.orders.commands import (
    BeginAgeCheck,
    BeginPayment,
    CancelOrder,
    CreateOrder,
    OrderItem,
    RecordAgeCheck,
    RecordPayment,
)
from domain.orders.dossier import Verdict as ChainVerdict
from domain.orders.dossier import verify
from domain.orders.lifecycle import OrderStatus, Role
from domain.orders.records import Answer, CheckOutcome
from domain.ports import Verdict
from domain.region.messages import Cancel as CancelTask
from domain.region.messages import Deliver, NoteIdCheck, SubmitIdCheck
from domain.region.messages import Refuse as RefuseAtDoor
from gateway.http.admission import Kind
from gateway.http.auth import Me
from gateway.http.idempotency import DriverStep, Mutation
from gateway.http.policy import Door, Need, Policy
from gateway.rest.kit.answers import Parts, Uid, answered, etag, json_response, once
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
from gateway.rest.kit.routes import Routes
from gateway.rest.models import Cancel, DoorCheck, NewOrder, Refuse, StepPlace, VendorCheck
from gateway.rest.notes import keep_note
from gateway.rest.views import DossierEvent, DossierView, OrderPage, OrderRef, OrderView

TURN_PAUSE_S = 0.05  # between two tries of an age check to have its turn

routes = Routes("orders", route_class=FastRoute)

_OUTCOMES = {
    Verdict.PASS: CheckOutcome.PASS,
    Verdict.FAIL: CheckOutcome.FAIL,
    Verdict.REVIEW: CheckOutcome.REVIEW,
}


@routes.post(
    "/v1/orders",
    Policy(roles=(Role.CUSTOMER,), key=Need.MAY, limit="order"),
    OrderRef,
    status=201,
    refuses=(
        "NOT_FOUND",
        "OUTSIDE_SERVICE_AREA",
        "MERCHANT_NOT_APPROVED",
        "OUTSIDE_DELIVERY_AREA",
        "STORE_PAUSED",
        "STORE_CLOSED",
        "TOO_LATE_TODAY",
    ),
)
async def create(body: NewOrder, customer: Me, call: Mutation, services: Parts) -> Response:
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
    # Nobody else is asked before, so that a repeat is left to the decider, who knows its key: the first answer is that
    # of another order than this would have been.
    answer = await services.backend.decide(command)
    return answered(answer, OrderRef, 201, replayed=answer.body.get("id") != command.order_id)


@routes.get("/v1/orders", Policy(roles=Door.SIGNED_IN, admission=Kind.NEW), OrderPage)
async def own_orders(principal: Me, page: Page, services: Parts) -> Response:
    """Your orders, newest first: what you ordered, what your stores got, what you bring; operators see all."""
    return json_response(await order_page(services, principal, page))


@routes.get("/v1/orders/{order_id}", Policy(roles=Door.SIGNED_IN, owner="order_id"), OrderView)
async def read(order_id: Uid, principal: Me, services: Parts) -> Response:
    """One order. The ETag is its version, for If-Match."""
    order = await order_for(services, principal, str(order_id))
    return json_response(order_view(order), headers=etag(order.version))


@routes.post(
    "/v1/orders/{order_id}/verify_age",
    Policy(
        roles=(Role.CUSTOMER,), owner="order_id", key=Need.MAY, version=Need.MAY, admission=Kind.UNDER_WAY
    ),
    OrderRef,
    refuses=(
        "WRONG_STATE",
        "AGE_NOT_VERIFIED",
        "AGE_ATTEMPTS_EXHAUSTED",
        "AGE_CHECK_UNDER_WAY",
        "VENDOR_UNAVAILABLE",
    ),
)
async def verify_age(
    order_id: Uid, body: VendorCheck, customer: Me, call: Mutation, services: Parts
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

    return await once(services, call, now, OrderRef)


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


@routes.post(
    "/v1/orders/{order_id}/payment/authorize",
    Policy(
        roles=(Role.CUSTOMER,), owner="order_id", key=Need.MAY, version=Need.MAY, admission=Kind.UNDER_WAY
    ),
    OrderRef,
    refuses=(
        "WRONG_STATE",
        "PAYMENT_DECLINED",
        "PAYMENT_UNDER_WAY",
        "VENDOR_UNAVAILABLE",
    ),
)
async def authorize(
    order_id: Uid, body: VendorCheck, customer: Me, call: Mutation, services: Parts
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

    return await once(services, call, now, OrderRef)


@routes.post(
    "/v1/orders/{order_id}/cancel",
    Policy(roles=Door.SIGNED_IN, owner="order_id", key=Need.MAY, version=Need.MAY, admission=Kind.UNDER_WAY),
    OrderRef,
    refuses=(
        "FORBIDDEN",
        "WRONG_STATE",
    ),
)
async def cancel(
    order_id: Uid, principal: Me, call: Mutation, services: Parts, body: Cancel | None = None
) -> Response:
    """Call the order off before the goods are picked up."""
    body = body or Cancel()
    call.covers(body, but="note")

    async def now() -> Answer:
        rows, region = CancelOrder(body.reason), CancelTask(str(order_id), body.reason)
        return await decide(services, call, str(order_id), rows=rows, region=region)

    response = await once(services, call, now, OrderRef)
    await keep_note(services, call, str(order_id), "cancel", body.note)
    return response


@routes.post(
    "/v1/orders/{order_id}/doorstep_id_check/submit",
    Policy(
        roles=(Role.DRIVER,),
        owner="order_id",
        key=Need.MAY,
        version=Need.MAY,
        limit="driver",
        admission=Kind.UNDER_WAY,
    ),
    OrderRef,
    refuses=(
        "WRONG_STATE",
        "TOO_FAR",
        "OUT_OF_ORDER",
        "ID_CHECK_INCONCLUSIVE",
        "VENDOR_UNAVAILABLE",
    ),
)
async def submit_id_check(
    order_id: Uid, body: DoorCheck, driver: Me, call: DriverStep, services: Parts
) -> Response:
    """Check the customer's ID at the door, as the driver who holds the task. A failed check starts the return."""
    call.placed(body)

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

    return await once(services, call, now, OrderRef)


@routes.post(
    "/v1/orders/{order_id}/deliver/confirm",
    Policy(
        roles=(Role.DRIVER,),
        owner="order_id",
        key=Need.MAY,
        version=Need.MAY,
        limit="driver",
        admission=Kind.UNDER_WAY,
    ),
    OrderRef,
    refuses=(
        "WRONG_STATE",
        "TOO_FAR",
        "OUT_OF_ORDER",
    ),
)
async def deliver(
    order_id: Uid, driver: Me, call: DriverStep, services: Parts, body: StepPlace | None = None
) -> Response:
    """The goods were handed over, after a passed ID check, by the driver who holds the task."""
    call.placed(body)
    order = str(order_id)
    return await once(
        services, call, lambda: decide(services, call, order, rows=None, region=Deliver(order)), OrderRef
    )


@routes.post(
    "/v1/orders/{order_id}/refuse",
    Policy(
        roles=(Role.DRIVER,),
        owner="order_id",
        key=Need.MAY,
        version=Need.MAY,
        limit="driver",
        admission=Kind.UNDER_WAY,
    ),
    OrderRef,
    refuses=(
        "WRONG_STATE",
        "OUT_OF_ORDER",
    ),
)
async def refuse(order_id: Uid, body: Refuse, driver: Me, call: DriverStep, services: Parts) -> Response:
    """The goods are not handed over: they go back to the store, with the same driver."""
    call.covers(body, but="note")
    order = str(order_id)
    response = await once(
        services,
        call,
        lambda: decide(services, call, order, rows=None, region=RefuseAtDoor(order, body.reason)),
        OrderRef,
    )
    await keep_note(services, call, order, "refuse", body.note)
    return response


@routes.get(
    "/v1/orders/{order_id}/dossier",
    Policy(roles=Door.SIGNED_IN, owner="order_id", admission=Kind.NEW),
    DossierView,
)
async def dossier(order_id: Uid, principal: Me, services: Parts) -> Response:
    """The order's hash-chained events. See docs/architecture.md for how anyone can verify them offline."""
    await order_for(services, principal, str(order_id))
    entries = await services.reads.dossier(str(order_id))
    events = [
        DossierEvent(
            order_id=entry.order_id,
            seq=entry.seq,
            type=entry.type,
            status=OrderStatus(entry.status),
            at_ms=entry.at_ms,
            at=instant(entry.at_ms),
            actor=entry.actor,
            payload=entry.payload,
            prev_hash=entry.prev_hash.hex(),
            hash=entry.hash.hex(),
        )
        for entry in entries
    ]
    return json_response(DossierView(str(order_id), events))


@routes.get(
    "/v1/orders/{order_id}/dossier/verify",
    Policy(roles=Door.SIGNED_IN, owner="order_id", admission=Kind.NEW),
    ChainVerdict,
)
async def verify_dossier(order_id: Uid, principal: Me, services: Parts) -> Response:
    """Check the order's chain now: every link and every hash."""
    await order_for(services, principal, str(order_id))
    return json_response(verify(await services.reads.dossier(str(order_id))))
