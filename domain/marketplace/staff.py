"""Who works for a merchant, and as what."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from domain.errors import Forbidden
from domain.marketplace.change import Command, Decision
from domain.marketplace.party import Job

STAFF_LIMIT = 500  # of a merchant


class Member(Struct, frozen=True, kw_only=True):
    """An account of role merchant that works for a merchant: for one at most, so its id is the member's."""

    user_id: str
    merchant_id: str
    job: Job
    created_ms: int
    version: int = 1


class AddMember(Struct, frozen=True, kw_only=True):
    """Somebody works for the merchant from now on."""

    user_id: str
    job: Job


class SetJob(Struct, frozen=True, kw_only=True):
    """What a member does from now on."""

    user_id: str
    job: Job


class RemoveMember(Struct, frozen=True, kw_only=True):
    """Somebody works for the merchant no more."""

    user_id: str


def add_member(action: AddMember, before: None, command: Command) -> Decision:
    """For the merchant of whoever adds them."""
    member = Member(
        user_id=action.user_id,
        merchant_id=command.merchant_id,
        job=action.job,
        created_ms=command.at_ms,
    )
    return Decision(shown=member, new=(member,), event="added")


def set_job(action: SetJob, before: Member, command: Command) -> Decision:
    """That a merchant keeps an owner, the database says: it sees those who go at the same moment."""
    after = replace(before, job=action.job)
    return Decision(shown=after, changed=after, event="job_set")


def remove_member(action: RemoveMember, before: Member, command: Command) -> Decision:
    """An owner removes anybody; everybody else may go, and nobody but themselves."""
    is_owner = command.member is not None and command.member.job is Job.OWNER
    if not is_owner and command.actor_id != before.user_id:
        raise Forbidden("This belongs to owners.")
    return Decision(shown=before, removed=before, event="removed")
