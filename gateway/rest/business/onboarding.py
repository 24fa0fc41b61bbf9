"""Merchants: they apply and say who they are; operators review, suspend and reinstate them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import Query
from msgspec import Struct
from pydantic import Field
from starlette.responses import Response

from domain.errors import NotFound
from domain.ground.times import instant
from domain.marketplace.merchants import (
    Apply,
    ChangeMerchant,
    Merchant,
    MoveMerchant,
    ReviewReason,
)
from domain.marketplace.party import Job
from domain.marketplace.review import ReviewEvent, ReviewStatus
from domain.orders.lifecycle import Role
from gateway.http.auth import Me
from gateway.http.idempotency import Call, Mutation
from gateway.http.policy import OPERATORS, Need, Policy
from gateway.rest.kit.answers import Parts, Uid, carry_out, etag, json_response, shown
from gateway.rest.kit.lists import Rows, listed
from gateway.rest.kit.reviews import ReviewBody
from gateway.rest.kit.routes import Routes
from gateway.rest.models import Address, Body, Code, Name
from gateway.services import Services

routes = Routes("merchants")

_READERS = (Role.MERCHANT, *OPERATORS)


class MerchantBody(Body):
    """A business. `name`: as customers see it; `legal_name`: as its permits have it."""

    name: Name
    legal_name: Annotated[Name, Field(examples=["Corner Store LLC"])]
    address: Address


class Review(ReviewBody):
    """What a review comes to. `reason`: why not, which the merchant is told; for anything but `approve`."""

    reason: Annotated[Code[ReviewReason] | None, Field(examples=[None])] = None


class Suspend(Body):
    """Why it must not sell any more, which the merchant is told."""

    reason: Code[ReviewReason]


class MerchantView(Struct, frozen=True):
    """A merchant; it sells while it is APPROVED. `reason`: why it does not, where an operator said so."""

    id: str
    version: int
    status: ReviewStatus
    reason: ReviewReason | None
    name: str
    legal_name: str
    address: str
    created_at: datetime
    reviewed_at: datetime | None


class MerchantPage(Struct, frozen=True):
    """One page; ask again with `cursor=next_cursor` for the next one, until it is null."""

    merchants: list[MerchantView]
    next_cursor: str | None


@routes.post(
    "/v1/merchants",
    Policy(roles=(Role.MERCHANT,), key=Need.MUST),
    MerchantView,
    status=201,
    refuses=("ALREADY_EMPLOYED",),
)
async def apply(body: MerchantBody, _: Me, call: Mutation, services: Parts) -> Response:
    """Apply as a business; you are its first owner. Nothing of it is sold before an operator has approved it."""
    action = Apply(merchant_id=services.new_id(), **body.model_dump())
    applied = await carry_out(services, call.covers(body), action, _view, MerchantView)
    return shown(applied.view, applied.replayed, 201, version=applied.view.version)


@routes.get("/v1/merchants/{merchant_id}", Policy(roles=_READERS, owner="merchant_id"), MerchantView)
async def read(merchant_id: Uid, _: Me, services: Parts) -> Response:
    """A merchant, and how its review stands. The ETag is its version, for If-Match."""
    merchant = await services.marketplace.find("merchant", str(merchant_id))
    if merchant is None:
        raise NotFound("There is no such merchant.")
    return json_response(_view(merchant), headers=etag(merchant.version))


@routes.put(
    "/v1/merchants/{merchant_id}",
    Policy(roles=(Role.MERCHANT,), owner="merchant_id", jobs=(Job.OWNER,), key=Need.MUST, version=Need.MUST),
    MerchantView,
    refuses=("WRONG_STATE",),
)
async def change(merchant_id: Uid, body: MerchantBody, _: Me, call: Mutation, services: Parts) -> Response:
    """Say what your business is called and where it is by now. Its legal name is settled with the approval."""
    action = ChangeMerchant(merchant_id=str(merchant_id), **body.model_dump())
    return await _moved(services, call.covers(body), action)


@routes.post(
    "/v1/merchants/{merchant_id}/submit",
    Policy(roles=(Role.MERCHANT,), owner="merchant_id", jobs=(Job.OWNER,), key=Need.MUST, version=Need.MUST),
    MerchantView,
    refuses=("WRONG_STATE",),
)
async def submit(merchant_id: Uid, _: Me, call: Mutation, services: Parts) -> Response:
    """Have it reviewed again, after more was asked for or it was rejected."""
    action = MoveMerchant(merchant_id=str(merchant_id), event=ReviewEvent.SUBMITTED)
    return await _moved(services, call, action)


# -- operators --------------------------------------------------------------------------------------------------------


@routes.get("/v1/admin/merchants", Policy(roles=OPERATORS), MerchantPage, tag="admin")
async def merchants(
    _: Me,
    services: Parts,
    rows: Rows,
    status: Annotated[list[ReviewStatus] | None, Query(description="Any of these.")] = None,
) -> Response:
    """Merchants, newest first: those that wait for a review are APPLIED."""
    found, cursor = await listed(services, "merchant", None, rows, _view, status=status or ())
    return json_response(MerchantPage(found, cursor))


@routes.post(
    "/v1/admin/merchants/{merchant_id}/review",
    Policy(roles=(Role.ADMIN,), owner="merchant_id", key=Need.MUST, version=Need.MUST),
    MerchantView,
    refuses=("WRONG_STATE",),
    tag="admin",
)
async def review(merchant_id: Uid, body: Review, _: Me, call: Mutation, services: Parts) -> Response:
    """Approve an application, reject it, or ask for more."""
    action = MoveMerchant(merchant_id=str(merchant_id), event=body.event, reason=body.reason)
    return await _moved(services, call.covers(body), action)


@routes.post(
    "/v1/admin/merchants/{merchant_id}/suspend",
    Policy(roles=OPERATORS, owner="merchant_id", key=Need.MUST, version=Need.MUST),
    MerchantView,
    refuses=("WRONG_STATE",),
    tag="admin",
)
async def suspend(merchant_id: Uid, body: Suspend, _: Me, call: Mutation, services: Parts) -> Response:
    """Close all of a merchant's stores at once, and call off what nobody has fetched yet. Goods on the road go on."""
    action = MoveMerchant(merchant_id=str(merchant_id), event=ReviewEvent.SUSPENDED, reason=body.reason)
    return await _moved(services, call.covers(body), action)


@routes.post(
    "/v1/admin/merchants/{merchant_id}/reinstate",
    Policy(roles=(Role.ADMIN,), owner="merchant_id", key=Need.MUST, version=Need.MUST),
    MerchantView,
    refuses=("WRONG_STATE",),
    tag="admin",
)
async def reinstate(merchant_id: Uid, _: Me, call: Mutation, services: Parts) -> Response:
    """Let a suspended merchant sell again."""
    action = MoveMerchant(merchant_id=str(merchant_id), event=ReviewEvent.REINSTATED)
    return await _moved(services, call, action)


async def _moved(services: Services, call: Call, action: ChangeMerchant | MoveMerchant) -> Response:
    after = await carry_out(services, call, action, _view, MerchantView)
    return shown(after.view, after.replayed, version=after.view.version)


def _view(merchant: Merchant) -> MerchantView:
    return MerchantView(
        id=merchant.merchant_id,
        version=merchant.version,
        status=merchant.status,
        reason=merchant.reason,
        name=merchant.name,
        legal_name=merchant.legal_name,
        address=merchant.address,
        created_at=instant(merchant.created_ms),
        reviewed_at=None if merchant.reviewed_ms is None else instant(merchant.reviewed_ms),
    )
