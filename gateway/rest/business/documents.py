"""Permits and registrations that a merchant hands in."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from msgspec import Struct
from pydantic import Field, StringConstraints
from starlette.responses import Response

from domain.ground.times import instant, millis
from domain.marketplace.merchant_documents import (
    NUMBER_LIMIT,
    HandIn,
    MerchantDocument,
    MerchantDocumentKind,
    Withdraw,
)
from domain.marketplace.party import RUNS_STORES
from domain.orders.lifecycle import Role
from gateway.http.auth import Me
from gateway.http.idempotency import Mutation
from gateway.http.policy import OPERATORS, Need, Policy
from gateway.rest.kit.answers import Parts, Uid, carry_out, json_response, shown
from gateway.rest.kit.lists import Rows, listed
from gateway.rest.kit.routes import Routes
from gateway.rest.models import Body, Code, Instant

routes = Routes("merchant_documents", tag="merchants")

_NUMBER = f"^[A-Z0-9][A-Z0-9 ./-]{{0,{NUMBER_LIMIT - 1}}}$"


class NewMerchantDocument(Body):
    """A permit or registration by its number, as it stands there. `expires_at`: null for one that does not."""

    kind: Code[MerchantDocumentKind]
    number: Annotated[
        str,
        StringConstraints(pattern=f"^[A-Z0-9][A-Z0-9 ./-]{{0,{NUMBER_LIMIT - 1}}}$"),
        Field(examples=["MB-1234567"]),
    ]
    expires_at: Annotated[Instant, Field(examples=["2099-01-01T06:00:00Z"])] | None = None


class MerchantDocumentView(Struct, frozen=True):
    """A document. `expires_at`: from when on it is good no more; `withdrawn_at`: since when its merchant does not stand
    by it."""

    id: str
    merchant_id: str
    version: int
    kind: MerchantDocumentKind
    number: str
    created_at: datetime
    expires_at: datetime | None
    withdrawn_at: datetime | None


class MerchantDocumentPage(Struct, frozen=True):
    """One page; ask again with `cursor=next_cursor` for the next one, until it is null."""

    documents: list[MerchantDocumentView]
    next_cursor: str | None


@routes.post(
    "/v1/merchants/{merchant_id}/documents",
    Policy(roles=(Role.MERCHANT,), owner="merchant_id", jobs=RUNS_STORES, key=Need.MUST),
    MerchantDocumentView,
    status=201,
)
async def hand_in(
    merchant_id: Uid, body: NewMerchantDocument, _: Me, call: Mutation, services: Parts
) -> Response:
    """Hand in a permit or a registration."""
    action = HandIn(
        document_id=services.new_id(),
        kind=body.kind,
        number=body.number,
        expires_ms=None if body.expires_at is None else millis(body.expires_at),
    )
    made = await carry_out(services, call.covers(body), action, _view, MerchantDocumentView)
    return shown(made.view, made.replayed, 201, version=made.view.version)


@routes.get(
    "/v1/merchants/{merchant_id}/documents",
    Policy(roles=(Role.MERCHANT, *OPERATORS), owner="merchant_id"),
    MerchantDocumentPage,
)
async def documents(
    merchant_id: Uid,
    _: Me,
    services: Parts,
    rows: Rows,
) -> Response:
    """A merchant's documents, newest first."""
    found, cursor = await listed(services, "merchant_document", str(merchant_id), rows, _view)
    return json_response(MerchantDocumentPage(found, cursor))


@routes.post(
    "/v1/merchants/{merchant_id}/documents/{permit_id}/withdraw",
    Policy(roles=(Role.MERCHANT,), owner="merchant_id", jobs=RUNS_STORES, key=Need.MUST, version=Need.MUST),
    MerchantDocumentView,
    refuses=("WRONG_STATE",),
)
async def withdraw(merchant_id: Uid, permit_id: Uid, _: Me, call: Mutation, services: Parts) -> Response:
    """Stand by a document no more. What was handed in stays on record."""
    action = Withdraw(document_id=str(permit_id))
    after = await carry_out(services, call, action, _view, MerchantDocumentView)
    return shown(after.view, after.replayed, version=after.view.version)


def _view(document: MerchantDocument) -> MerchantDocumentView:
    return MerchantDocumentView(
        id=document.document_id,
        merchant_id=document.merchant_id,
        version=document.version,
        kind=document.kind,
        number=document.number,
        created_at=instant(document.created_ms),
        expires_at=None if document.expires_ms is None else instant(document.expires_ms),
        withdrawn_at=None if document.withdrawn_ms is None else instant(document.withdrawn_ms),
    )
