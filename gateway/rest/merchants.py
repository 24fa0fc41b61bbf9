"""What a merchant does with orders."""

from __future__ import annotations

from starlette.responses import Response

from domain.errors import NotFound
from domain.orders.commands import MerchantAccept, MerchantReject, OrderAction
from domain.orders.lifecycle import Role
from domain.orders.records import Answer
from domain.region.messages import GoodsReady
from gateway.http.admission import Kind
from gateway.http.auth import Me
from gateway.http.idempotency import Mutation
from gateway.http.policy import Need, Policy
from gateway.rest.kit.answers import Parts, Uid, json_response, once
from gateway.rest.kit.deciding import decide, order_for
from gateway.rest.kit.fast_route import FastRoute
from gateway.rest.kit.lists import Page, order_page
from gateway.rest.kit.routes import Routes
from gateway.rest.models import Action
from gateway.rest.notes import keep_note
from gateway.rest.views import OrderPage, OrderRef

routes = Routes("merchants", route_class=FastRoute)


@routes.get(
    "/v1/merchants/{merchant_id}/orders",
    Policy(roles=(Role.MERCHANT,), owner="merchant_id", admission=Kind.NEW),
    OrderPage,
)
async def merchant_orders(merchant_id: Uid, merchant: Me, page: Page, services: Parts) -> Response:
    """Orders to your stores, newest first."""
    return json_response(await order_page(services, merchant, page))


@routes.post(
    "/v1/merchants/{merchant_id}/stores/{store_id}/orders/{order_id}/action",
    Policy(
        roles=(Role.MERCHANT,), owner="merchant_id", key=Need.MAY, version=Need.MAY, admission=Kind.UNDER_WAY
    ),
    OrderRef,
    refuses=(
        "WRONG_STATE",
        "MERCHANT_NOT_APPROVED",
        "STORE_CLOSED",
        "TOO_LATE_TODAY",
    ),
)
async def act(
    merchant_id: Uid,
    store_id: Uid,
    order_id: Uid,
    body: Action,
    merchant: Me,
    call: Mutation,
    services: Parts,
) -> Response:
    """Accept (which seeks a driver at once), reject, or say that the goods are packed."""
    call.covers(body, but="note")
    order = await order_for(services, merchant, str(order_id))
    if order.store_id != str(store_id):
        raise NotFound("There is no such order.")

    async def now() -> Answer:
        if body.action == "ready":
            return await decide(services, call, order.order_id, rows=None, region=GoodsReady(order.order_id))
        step: OrderAction = MerchantReject(body.reason)
        if body.action == "accept":
            prep_s = None if body.prep_minutes is None else body.prep_minutes * 60
            step = MerchantAccept(task_id=services.new_id(), prep_s=prep_s)
        at_ms = services.config.clock.now_ms()
        return await services.backend.decide(call.command(order.order_id, at_ms, step))

    response = await once(services, call, now, OrderRef)
    if body.action == "reject":
        await keep_note(services, call, order.order_id, "reject", body.note)
    return response
