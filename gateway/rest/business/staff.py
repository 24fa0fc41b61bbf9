"""Who works for a merchant, and as what."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from msgspec import Struct
from pydantic import Field
from starlette.responses import Response

from domain.errors import NotFound
from domain.ground.times import instant
from domain.marketplace.party import Job
from domain.marketplace.staff import AddMember, Member, RemoveMember, SetJob
from domain.orders.lifecycle import Role
from gateway.http.auth import Me
from gateway.http.idempotency import Mutation
from gateway.http.policy import OPERATORS, Need, Policy
from gateway.rest.kit.answers import Parts, Uid, carry_out, etag, json_response, shown
from gateway.rest.kit.lists import Rows, listed
from gateway.rest.kit.routes import Routes
from gateway.rest.models import Body, Code, Email

routes = Routes("merchant_staff", tag="merchants")

_READERS = Policy(roles=(Role.MERCHANT, *OPERATORS), owner="merchant_id")


class NewMember(Body):
    """Somebody who has registered with this address, as a merchant."""

    email: Annotated[Email, Field(examples=["clerk@example.org"])]
    job: Annotated[Code[Job], Field(examples=[Job.CLERK])]


class NewJob(Body):
    """What they do from now on."""

    job: Annotated[Code[Job], Field(examples=[Job.MANAGER])]


class MemberView(Struct, frozen=True):
    """Somebody who works for a merchant; `id` is their account's."""

    id: str
    merchant_id: str
    version: int
    job: Job
    created_at: datetime


class MemberPage(Struct, frozen=True):
    """One page; ask again with `cursor=next_cursor` for the next one, until it is null."""

    staff: list[MemberView]
    next_cursor: str | None


@routes.post(
    "/v1/merchants/{merchant_id}/staff",
    Policy(roles=(Role.MERCHANT,), owner="merchant_id", jobs=(Job.OWNER,), key=Need.MUST),
    MemberView,
    status=201,
    refuses=("ALREADY_EMPLOYED",),
)
async def add(merchant_id: Uid, body: NewMember, _: Me, call: Mutation, services: Parts) -> Response:
    """Take somebody on. They have registered as a merchant, and work for nobody yet."""
    user = await services.reads.user_by_email(body.email)
    if user is None or user.role is not Role.MERCHANT:
        raise NotFound("Nobody has registered with this address as a merchant.")
    action = AddMember(user_id=user.user_id, job=body.job)
    added = await carry_out(services, call.covers(body), action, _view, MemberView)
    return shown(added.view, added.replayed, 201, version=added.view.version)


@routes.get("/v1/merchants/{merchant_id}/staff", _READERS, MemberPage)
async def staff(
    merchant_id: Uid,
    _: Me,
    services: Parts,
    rows: Rows,
) -> Response:
    """Who works for a merchant, the newest first."""
    found, cursor = await listed(services, "staff", str(merchant_id), rows, _view)
    return json_response(MemberPage(found, cursor))


@routes.get("/v1/merchants/{merchant_id}/staff/{member_id}", _READERS, MemberView)
async def read(merchant_id: Uid, member_id: Uid, _: Me, services: Parts) -> Response:
    """Somebody who works for a merchant. The ETag is the version, for If-Match."""
    member = await services.marketplace.find("staff", str(member_id), str(merchant_id))
    if member is None:
        raise NotFound("Nobody of this id works for you.")
    return json_response(_view(member), headers=etag(member.version))


@routes.put(
    "/v1/merchants/{merchant_id}/staff/{member_id}",
    Policy(roles=(Role.MERCHANT,), owner="merchant_id", jobs=(Job.OWNER,), key=Need.MUST, version=Need.MUST),
    MemberView,
    refuses=("LAST_OWNER",),
)
async def set_job(
    merchant_id: Uid, member_id: Uid, body: NewJob, _: Me, call: Mutation, services: Parts
) -> Response:
    """Give somebody another job. A merchant keeps an owner."""
    action = SetJob(user_id=str(member_id), job=body.job)
    after = await carry_out(services, call.covers(body), action, _view, MemberView)
    return shown(after.view, after.replayed, version=after.view.version)


@routes.delete(
    "/v1/merchants/{merchant_id}/staff/{member_id}",
    Policy(roles=(Role.MERCHANT,), owner="merchant_id", key=Need.MUST, version=Need.MUST),
    MemberView,
    refuses=("LAST_OWNER",),
)
async def remove(merchant_id: Uid, member_id: Uid, _: Me, call: Mutation, services: Parts) -> Response:
    """Part with somebody, as an owner; or go yourself. A merchant keeps an owner."""
    action = RemoveMember(user_id=str(member_id))
    gone = await carry_out(services, call, action, _view, MemberView)
    return shown(gone.view, gone.replayed, version=gone.view.version)


def _view(member: Member) -> MemberView:
    return MemberView(
        id=member.user_id,
        merchant_id=member.merchant_id,
        version=member.version,
        job=member.job,
        created_at=instant(member.created_ms),
    )
