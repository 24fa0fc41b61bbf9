"""Drivers' way onto a server: they apply and hand in documents; operators review, suspend and reinstate them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import Query
from msgspec import Struct
from pydantic import Field, StringConstraints
from starlette.responses import Response

from domain.errors import NotFound
from domain.ground.times import instant, millis
from domain.marketplace.drivers import (
    DOCUMENTS_LIMIT,
    ApplyToDrive,
    Document,
    DocumentKind,
    DocumentStatus,
    Driver,
    DriverReason,
    HandInDocument,
    JudgeDocument,
    MoveDriver,
)
from domain.marketplace.review import ReviewEvent, ReviewStatus
from domain.orders.lifecycle import Role
from gateway.http.auth import Me
from gateway.http.idempotency import Call, Mutation
from gateway.http.policy import OPERATORS, Need, Policy
from gateway.rest.kit.answers import Parts, Uid, carry_out, etag, json_response, shown
from gateway.rest.kit.lists import Rows, listed
from gateway.rest.kit.reviews import ReviewBody
from gateway.rest.kit.routes import Routes
from gateway.rest.models import Body, Clean, Code, Instant
from gateway.services import Services
from gateway.sockets.presence import take_off

routes = Routes("driver_reviews", tag="drivers")

_READERS = (Role.DRIVER, *OPERATORS)


class NewDocument(Body):
    """A document. `last_four`: the last four characters of its number; nobody wants the number. `expires_at`: from when
    on it is good no more."""

    kind: Code[DocumentKind]
    last_four: Annotated[str, StringConstraints(pattern="^[A-Z0-9]{4}$"), Field(examples=["4711"])]
    expires_at: Annotated[Instant, Field(examples=["2099-01-01T06:00:00Z"])]


class NewDriver(Body):
    """You want to drive in a market. What is missing of your documents can come later."""

    region_id: Annotated[str, StringConstraints(min_length=1, max_length=64), Clean]
    documents: Annotated[tuple[NewDocument, ...], Field(max_length=DOCUMENTS_LIMIT // 2, strict=False)] = ()


class DriverReview(ReviewBody):
    """What a review comes to. `reason`: why not, which the driver is told; for anything but `approve`."""

    reason: Annotated[Code[DriverReason] | None, Field(examples=[None])] = None


class DocumentReview(Body):
    """Whether a document is taken; with the `reason` why not, which the driver is told."""

    accepted: bool
    reason: Code[DriverReason] = DriverReason.OTHER


class SuspendDriver(Body):
    """Why the driver must not drive any more, which they are told."""

    reason: Code[DriverReason]


class DocumentView(Struct, frozen=True):
    """A document. `reason`: why it was not taken."""

    id: str
    kind: DocumentKind
    last_four: str
    status: DocumentStatus
    reason: DriverReason | None
    handed_in_at: datetime
    expires_at: datetime


class DriverView(Struct, frozen=True):
    """A driver; one drives who is APPROVED, until `papers_until` where that is said: then a document that must be good
    runs out. `reason`: why they do not drive, where an operator said so."""

    id: str
    version: int
    region_id: str
    status: ReviewStatus
    reason: DriverReason | None
    documents: list[DocumentView]
    papers_until: datetime | None
    created_at: datetime
    reviewed_at: datetime | None


class DriverPage(Struct, frozen=True):
    """One page; ask again with `cursor=next_cursor` for the next one, until it is null."""

    drivers: list[DriverView]
    next_cursor: str | None


@routes.post(
    "/v1/drivers",
    Policy(roles=(Role.DRIVER,), key=Need.MUST),
    DriverView,
    status=201,
    refuses=("WRONG_STATE", "NOT_FOUND"),
)
async def apply(body: NewDriver, _: Me, call: Mutation, services: Parts) -> Response:
    """Apply as a driver. You are offered nothing before an operator has approved it."""
    documents = tuple(_document(services, one) for one in body.documents)
    action = ApplyToDrive(region_id=services.region(body.region_id), documents=documents)
    applied = await carry_out(services, call.covers(body), action, _view, DriverView)
    services.standings.forget(applied.view.id)
    return shown(applied.view, applied.replayed, 201, version=applied.view.version)


@routes.get("/v1/drivers/{driver_id}", Policy(roles=_READERS, owner="driver_id"), DriverView)
async def read(driver_id: Uid, _: Me, services: Parts) -> Response:
    """A driver, the documents and how the review stands. The ETag is its version, for If-Match."""
    view = _view(await _driver(services, str(driver_id)))
    return json_response(view, headers=etag(view.version))


@routes.post(
    "/v1/drivers/{driver_id}/submit",
    Policy(roles=(Role.DRIVER,), owner="driver_id", key=Need.MUST, version=Need.MUST),
    DriverView,
    refuses=("WRONG_STATE",),
)
async def submit(driver_id: Uid, _: Me, call: Mutation, services: Parts) -> Response:
    """Have it reviewed again, after more was asked for or it was rejected."""
    action = MoveDriver(driver_id=str(driver_id), event=ReviewEvent.SUBMITTED)
    return await _moved(services, call, action)


@routes.post(
    "/v1/drivers/{driver_id}/documents",
    Policy(roles=(Role.DRIVER,), owner="driver_id", key=Need.MUST),
    DocumentView,
    status=201,
    refuses=("LIMIT_REACHED",),
)
async def hand_in(driver_id: Uid, body: NewDocument, _: Me, call: Mutation, services: Parts) -> Response:
    """Hand in a document, or the newer one of a kind. It counts once an operator has taken it."""
    document = _document(services, body)
    action = HandInDocument(driver_id=str(driver_id), document=document)
    made = await carry_out(
        services,
        call.covers(body),
        action,
        lambda driver: _document_view(driver.documents[-1]),
        DocumentView,
    )
    return shown(made.view, made.replayed, 201)


@routes.get(
    "/v1/drivers/{driver_id}/documents/{document_id}",
    Policy(roles=_READERS, owner="driver_id"),
    DocumentView,
)
async def document(driver_id: Uid, document_id: Uid, _: Me, services: Parts) -> Response:
    """One document."""
    for one in (await _driver(services, str(driver_id))).documents:
        if one.document_id == str(document_id):
            return json_response(_document_view(one))
    raise NotFound("There is no such document.")


# -- operators --------------------------------------------------------------------------------------------------------


@routes.get("/v1/admin/drivers", Policy(roles=OPERATORS), DriverPage, tag="admin")
async def drivers(
    _: Me,
    services: Parts,
    rows: Rows,
    status: Annotated[list[ReviewStatus] | None, Query(description="Any of these.")] = None,
) -> Response:
    """Drivers, newest first: those that wait for a review are APPLIED."""
    found, cursor = await listed(services, "driver", None, rows, _view, status=status or ())
    return json_response(DriverPage(found, cursor))


@routes.post(
    "/v1/admin/drivers/{driver_id}/review",
    Policy(roles=(Role.ADMIN,), owner="driver_id", key=Need.MUST, version=Need.MUST),
    DriverView,
    refuses=("WRONG_STATE", "DOCUMENTS_MISSING"),
    tag="admin",
)
async def review(driver_id: Uid, body: DriverReview, _: Me, call: Mutation, services: Parts) -> Response:
    """Approve an application and the documents that were handed in with it, reject it, or ask for more."""
    action = MoveDriver(driver_id=str(driver_id), event=body.event, reason=body.reason)
    return await _moved(services, call.covers(body), action)


@routes.post(
    "/v1/admin/drivers/{driver_id}/documents/{document_id}/review",
    Policy(roles=(Role.ADMIN,), owner="driver_id", key=Need.MUST, version=Need.MUST),
    DriverView,
    tag="admin",
)
async def review_document(
    driver_id: Uid, document_id: Uid, body: DocumentReview, _: Me, call: Mutation, services: Parts
) -> Response:
    """Take a document that a driver handed in, or refuse it. If-Match has the driver's version."""
    action = JudgeDocument(
        driver_id=str(driver_id),
        document_id=str(document_id),
        accepted=body.accepted,
        reason=body.reason,
    )
    return await _moved(services, call.covers(body), action)


@routes.post(
    "/v1/admin/drivers/{driver_id}/suspend",
    Policy(roles=OPERATORS, owner="driver_id", key=Need.MUST, version=Need.MUST),
    DriverView,
    refuses=("WRONG_STATE",),
    tag="admin",
)
async def suspend(driver_id: Uid, body: SuspendDriver, _: Me, call: Mutation, services: Parts) -> Response:
    """Let a driver drive no more; they are off duty at once. Tasks that are under way stay theirs until a dispatcher
    says otherwise."""
    action = MoveDriver(driver_id=str(driver_id), event=ReviewEvent.SUSPENDED, reason=body.reason)
    return await _moved(services, call.covers(body), action)


@routes.post(
    "/v1/admin/drivers/{driver_id}/reinstate",
    Policy(roles=(Role.ADMIN,), owner="driver_id", key=Need.MUST, version=Need.MUST),
    DriverView,
    refuses=("WRONG_STATE",),
    tag="admin",
)
async def reinstate(driver_id: Uid, _: Me, call: Mutation, services: Parts) -> Response:
    """Let a suspended driver drive again."""
    action = MoveDriver(driver_id=str(driver_id), event=ReviewEvent.REINSTATED)
    return await _moved(services, call, action)


async def _driver(services: Services, driver_id: str) -> Driver:
    found: Driver | None = await services.marketplace.find("driver", driver_id)
    if found is None:
        raise NotFound("There is no such driver.")
    return found


async def _moved(services: Services, call: Call, action: MoveDriver | JudgeDocument) -> Response:
    after = await carry_out(services, call, action, _view, DriverView)
    view, now_ms = after.view, services.config.clock.now_ms()
    services.standings.forget(view.id)
    if view.status is not ReviewStatus.APPROVED or (
        view.papers_until and millis(view.papers_until) <= now_ms
    ):
        await take_off(services, view.id)
    return shown(view, after.replayed, version=view.version)


def _document(services: Services, body: NewDocument) -> Document:
    return Document(
        document_id=services.new_id(),
        kind=body.kind,
        last_four=body.last_four,
        expires_ms=millis(body.expires_at),
        handed_in_ms=services.config.clock.now_ms(),
    )


def _document_view(document: Document) -> DocumentView:
    return DocumentView(
        id=document.document_id,
        kind=document.kind,
        last_four=document.last_four,
        status=document.status,
        reason=document.reason,
        handed_in_at=instant(document.handed_in_ms),
        expires_at=instant(document.expires_ms),
    )


def _view(driver: Driver) -> DriverView:
    return DriverView(
        id=driver.driver_id,
        version=driver.version,
        region_id=driver.region_id,
        status=driver.status,
        reason=driver.reason,
        documents=[_document_view(one) for one in driver.documents],
        papers_until=None if driver.papers_until_ms is None else instant(driver.papers_until_ms),
        created_at=instant(driver.created_ms),
        reviewed_at=None if driver.reviewed_ms is None else instant(driver.reviewed_ms),
    )
