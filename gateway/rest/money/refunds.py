"""What operators give back of an order's payment."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from msgspec import Struct
from pydantic import Field
from starlette.responses import Response

from domain.errors import NotFound, WrongState
from domain.ground.times import instant
from domain.marketplace.refunds import AskRefund, Refund, RefundReason, RefundStatus
from domain.orders.commands import TOTAL_LIMIT_CENTS
from domain.orders.lifecycle import OrderStatus
from gateway.http.auth import Me
from gateway.http.idempotency import Mutation
from gateway.http.policy import OPERATORS, Door, Need, Policy
from gateway.rest.kit.answers import Parts, Uid, carry_out, json_response, shown
from gateway.rest.kit.deciding import order_for, wrong_state
from gateway.rest.kit.lists import Rows, listed
from gateway.rest.kit.routes import Routes
from gateway.rest.models import Body, Code

routes = Routes("refunds", tag="money")

_TAKEN = (OrderStatus.DELIVERED, OrderStatus.CLOSED)


class NewRefund(Body):
    """Money back. Without `amount_cents` all that is left; goods, fee and tax in proportion. The tip is the driver's:
    what is given back `with_tip` is the platform's loss."""

    reason: Code[RefundReason]
    amount_cents: Annotated[int, Field(ge=1, le=TOTAL_LIMIT_CENTS)] | None = None
    with_tip: bool = False


class RefundView(Struct, frozen=True):
    """A refund, in cents. `ended_at`: when the vendor had given it back, or would not."""

    id: str
    order_id: str
    version: int
    status: RefundStatus
    reason: RefundReason
    amount_cents: int
    goods_cents: int
    fee_cents: int
    tax_cents: int
    tip_cents: int
    created_at: datetime
    ended_at: datetime | None


class RefundPage(Struct, frozen=True):
    """One page; ask again with `cursor=next_cursor` for the next one, until it is null."""

    refunds: list[RefundView]
    next_cursor: str | None


@routes.post(
    "/v1/orders/{order_id}/refunds",
    Policy(roles=OPERATORS, key=Need.MUST),
    RefundView,
    status=202,
    refuses=("NOT_FOUND", "WRONG_STATE", "REFUND_TOO_MUCH"),
)
async def ask(order_id: Uid, body: NewRefund, operator: Me, call: Mutation, services: Parts) -> Response:
    """Give money back for an order that was delivered and paid. Never more than was taken, whoever asks at once."""
    order = await order_for(services, operator, str(order_id))
    if OrderStatus(order.status) not in _TAKEN:
        raise wrong_state(order)
    action = AskRefund(
        payment_id=order.order_id,
        refund_id=services.new_id(),
        amount_cents=body.amount_cents,
        with_tip=body.with_tip,
        reason=body.reason,
    )
    try:
        asked = await carry_out(services, call.covers(body), action, _view, RefundView)
    except NotFound:
        raise WrongState("The order's payment is just being taken.") from None
    return shown(asked.view, asked.replayed, 202)


@routes.get("/v1/orders/{order_id}/refunds", Policy(roles=Door.SIGNED_IN, owner="order_id"), RefundPage)
async def of_order(order_id: Uid, principal: Me, services: Parts, rows: Rows) -> Response:
    """What was given back of the order's payment, newest first."""
    await order_for(services, principal, str(order_id))
    found = await listed(services, "refund", None, rows, _view, order_id=[str(order_id)])
    return json_response(RefundPage(*found))


def _view(refund: Refund) -> RefundView:
    return RefundView(
        id=refund.refund_id,
        order_id=refund.order_id,
        version=refund.version,
        status=refund.status,
        reason=refund.reason,
        amount_cents=refund.parts.total_cents,
        goods_cents=refund.goods_cents,
        fee_cents=refund.fee_cents,
        tax_cents=refund.tax_cents,
        tip_cents=refund.tip_cents,
        created_at=instant(refund.created_ms),
        ended_at=None if refund.ended_ms is None else instant(refund.ended_ms),
    )
