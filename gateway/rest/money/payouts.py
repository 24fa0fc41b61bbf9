"""What merchants and drivers are owed and were paid, and the closing of a period."""

from __future__ import annotations

import csv
import io
from datetime import datetime
from typing import Annotated, Literal

import msgspec
from fastapi import Depends, Query
from msgspec import Struct
from msgspec.structs import replace
from pydantic import Field
from starlette.responses import Response

from domain.errors import InvalidRequest
from domain.ground.times import instant, millis
from domain.marketplace.money import Party, Reason
from domain.marketplace.payouts import ClosePayout, Payout
from domain.orders.lifecycle import Role
from gateway.http.auth import Me
from gateway.http.idempotency import Mutation
from gateway.http.policy import OPERATORS, Need, Policy
from gateway.rest.kit.answers import Parts, Uid, first_answer, json_response, keep, shown
from gateway.rest.kit.lists import Rows, listed, next_cursor
from gateway.rest.kit.routes import Routes
from gateway.rest.models import Body, Instant
from persistence.marketplace.statements import Earned, Line

PARTIES_LIMIT = 200  # that are paid at one request
CSV_LIMIT = 50_000  # lines of one file

routes = Routes("payouts", tag="money")

_MERCHANTS = (Role.MERCHANT, *OPERATORS)
_DRIVERS = (Role.DRIVER, *OPERATORS)


class Period(Body):
    """Who is paid for which time, which is over: from the first instant until before the second."""

    party: Literal["merchant", "driver"]
    period_from: Annotated[Instant, Field(examples=["2026-01-05T06:00:00Z"])]
    period_to: Annotated[Instant, Field(examples=["2026-01-12T06:00:00Z"])]


class PayoutView(Struct, frozen=True):
    """What was paid for a period, in cents. `work_cents`: sales or pay, with `guarantee_cents` in it that pay was
    raised by; `tips_cents` besides."""

    id: str
    party_id: str
    period_from: datetime
    period_to: datetime
    amount_cents: int
    work_cents: int
    guarantee_cents: int
    tips_cents: int
    created_at: datetime


class PayoutPage(Struct, frozen=True):
    """One page; ask again with `cursor=next_cursor` for the next one, until it is null."""

    payouts: list[PayoutView]
    next_cursor: str | None


class ClosedPeriod(Struct, frozen=True):
    """What this request paid. Not `is_complete`: more are owed; ask again with another key."""

    payouts: list[PayoutView]
    is_complete: bool


class LineView(Struct, frozen=True):
    """A line of a statement; above zero: owed to you."""

    id: str
    at: datetime
    reason: Reason
    order_id: str | None
    amount_cents: int


class StatementPage(Struct, frozen=True):
    """One page of a statement, and what is owed to you now; ask again with `cursor=next_cursor` until it is null."""

    owed_cents: int
    lines: list[LineView]
    next_cursor: str | None


class EarningView(Struct, frozen=True):
    """What a task earned, in cents: for the order (or the way back), the distance, waiting at the store, what the offer
    was raised by, and the customer's tip."""

    id: str
    order_id: str
    is_return: bool
    begun_at: datetime
    ended_at: datetime
    order_cents: int
    distance_cents: int
    wait_cents: int
    bump_cents: int
    tip_cents: int
    total_cents: int


class EarningPage(Struct, frozen=True):
    """One page, and what is owed to you now; ask again with `cursor=next_cursor` until it is null."""

    owed_cents: int
    earnings: list[EarningView]
    next_cursor: str | None


async def _span(
    period_from: Annotated[Instant | None, Query(description="Inclusive, RFC 3339.")] = None,
    period_to: Annotated[Instant | None, Query(description="Exclusive, RFC 3339.")] = None,
) -> tuple[int, int]:
    return (
        0 if period_from is None else millis(period_from),
        2**62 if period_to is None else millis(period_to),
    )


Span = Annotated[tuple[int, int], Depends(_span)]


@routes.post(
    "/v1/admin/payouts",
    Policy(roles=(Role.ADMIN,), key=Need.MUST),
    ClosedPeriod,
    refuses=("PERIOD_OVERLAPS",),
)
async def close(body: Period, _: Me, call: Mutation, services: Parts) -> Response:
    """Pay all merchants or drivers what they are owed until the period's end, each once for a period."""
    call.covers(body)
    first = await first_answer(services, call)
    if first is not None:
        return shown(msgspec.convert(first.body, ClosedPeriod), True)
    from_ms, to_ms = millis(body.period_from), millis(body.period_to)
    now_ms = services.config.clock.now_ms()
    if not from_ms < to_ms <= now_ms:
        raise InvalidRequest("A period has a beginning and an end, and is over.")
    party, config = Party(body.party), services.config
    owed = await services.marketplace.statements.owed_parties(party, to_ms, PARTIES_LIMIT + 1)
    paid = []
    for party_id in owed[:PARTIES_LIMIT]:
        action = ClosePayout(
            payout_id=services.new_id(),
            party=party,
            party_id=party_id,
            from_ms=from_ms,
            to_ms=to_ms,
            rules={region_id: config.policy_of(region_id).money for region_id in config.regions},
        )
        command = replace(call.change(action, now_ms), claim=None)  # its period is its key
        carried = await services.marketplace.carry_out(command, _maybe, object)
        if isinstance(carried.view, PayoutView):
            paid.append(carried.view)
    view, replayed = await keep(services, call, ClosedPeriod(paid, len(owed) <= PARTIES_LIMIT))
    return shown(view, replayed)


@routes.get("/v1/merchants/{merchant_id}/payouts", Policy(roles=_MERCHANTS, owner="merchant_id"), PayoutPage)
async def to_merchant(merchant_id: Uid, _: Me, services: Parts, rows: Rows) -> Response:
    """What a merchant was paid, newest first."""
    return json_response(PayoutPage(*await listed(services, "payout", str(merchant_id), rows, _view)))


@routes.get("/v1/drivers/{driver_id}/payouts", Policy(roles=_DRIVERS, owner="driver_id"), PayoutPage)
async def to_driver(driver_id: Uid, _: Me, services: Parts, rows: Rows) -> Response:
    """What a driver was paid, newest first."""
    return json_response(PayoutPage(*await listed(services, "payout", str(driver_id), rows, _view)))


@routes.get(
    "/v1/merchants/{merchant_id}/statement", Policy(roles=_MERCHANTS, owner="merchant_id"), StatementPage
)
async def statement(merchant_id: Uid, _: Me, services: Parts, rows: Rows, span: Span) -> Response:
    """Every line of what a merchant is owed and was paid, newest first."""
    of, whose = services.marketplace.statements, str(merchant_id)
    found = await of.lines(Party.MERCHANT, whose, *span, rows.after, rows.limit)
    views = [_line(line) for line in found]
    places = [(line.at_ms, line.movement_id) for line in found]
    owed_cents = await of.owed_cents(Party.MERCHANT, whose)
    return json_response(StatementPage(owed_cents, views[: rows.limit], next_cursor(places, rows.limit)))


@routes.get(
    "/v1/merchants/{merchant_id}/statement.csv",
    Policy(roles=_MERCHANTS, owner="merchant_id"),
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}}},
)
async def statement_csv(merchant_id: Uid, _: Me, services: Parts, span: Span) -> Response:
    """The same as a file, newest first, at most 50,000 lines of it: name a period for more."""
    found = await services.marketplace.statements.lines(
        Party.MERCHANT, str(merchant_id), *span, None, CSV_LIMIT - 1
    )
    text = io.StringIO()
    lines = csv.writer(text)
    lines.writerow(LineView.__struct_fields__)
    for line in found:
        lines.writerow(msgspec.structs.astuple(_line(line)))
    return Response(text.getvalue(), media_type="text/csv", headers={"Cache-Control": "no-store"})


@routes.get("/v1/drivers/{driver_id}/earnings", Policy(roles=_DRIVERS, owner="driver_id"), EarningPage)
async def earnings(driver_id: Uid, _: Me, services: Parts, rows: Rows) -> Response:
    """What each task of a driver earned, newest first. The hourly guarantee is in the payout of a period."""
    of, whose = services.marketplace.statements, str(driver_id)
    found = await of.earned(whose, rows.after, rows.limit)
    views = [_earning(one) for one in found]
    places = [(one.earning.ended_ms, one.earning.task_id) for one in found]
    owed_cents = await of.owed_cents(Party.DRIVER, whose)
    return json_response(EarningPage(owed_cents, views[: rows.limit], next_cursor(places, rows.limit)))


def _maybe(payout: Payout | None) -> PayoutView | None:
    return None if payout is None else _view(payout)


def _view(payout: Payout) -> PayoutView:
    return PayoutView(
        id=payout.payout_id,
        party_id=payout.party_id,
        period_from=instant(payout.from_ms),
        period_to=instant(payout.to_ms),
        amount_cents=payout.total_cents,
        work_cents=payout.work_cents,
        guarantee_cents=payout.guarantee_cents,
        tips_cents=payout.tips_cents,
        created_at=instant(payout.created_ms),
    )


def _line(line: Line) -> LineView:
    return LineView(
        id=line.movement_id,
        at=instant(line.at_ms),
        reason=line.reason,
        order_id=line.order_id,
        amount_cents=line.cents,
    )


def _earning(earned: Earned) -> EarningView:
    one = earned.earning
    return EarningView(
        id=one.task_id,
        order_id=one.order_id,
        is_return=one.is_return,
        begun_at=instant(one.begun_ms),
        ended_at=instant(one.ended_ms),
        order_cents=one.order_cents,
        distance_cents=one.distance_cents,
        wait_cents=one.wait_cents,
        bump_cents=one.bump_cents,
        tip_cents=earned.tip_cents,
        total_cents=one.total_cents + earned.tip_cents,
    )
