"""Merchants: businesses that apply, are reviewed by operators, and sell while they are approved.

What may come after what is a table (`MERCHANT`). What a merchant may do before it is approved is to get ready: stores,
goods, staff, documents. Whether it sells, orders ask at the moment of their decision (`domain.orders.decide`).
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from domain.errors import WrongState
from domain.marketplace.change import Command, Decision
from domain.marketplace.party import Job
from domain.marketplace.review import ReviewEvent, ReviewStatus, step, steps_of
from domain.marketplace.staff import Member
from domain.orders.lifecycle import Role


class ReviewReason(StrEnum):
    """Why a merchant does not sell: a closed list, for it is told."""

    DOCUMENTS_MISSING = "DOCUMENTS_MISSING"
    DOCUMENTS_EXPIRED = "DOCUMENTS_EXPIRED"
    PERMIT_NOT_VALID = "PERMIT_NOT_VALID"
    BUSINESS_NOT_VERIFIED = "BUSINESS_NOT_VERIFIED"
    OUTSIDE_MARKETS = "OUTSIDE_MARKETS"
    GOODS_NOT_ALLOWED = "GOODS_NOT_ALLOWED"
    COMPLAINTS = "COMPLAINTS"
    SUSPECTED_FRAUD = "SUSPECTED_FRAUD"
    AT_OWN_REQUEST = "AT_OWN_REQUEST"
    OTHER = "OTHER"


MERCHANT = steps_of(Role.MERCHANT)


class Merchant(Struct, frozen=True, kw_only=True):
    """A business. `name`: as customers see it, `legal_name`: as its permits have it. `reason`: why it does not sell,
    where an operator said so; `reviewed_ms`: when one last did."""

    merchant_id: str
    name: str
    legal_name: str
    address: str
    created_ms: int
    status: ReviewStatus = ReviewStatus.APPLIED
    reason: ReviewReason | None = None
    reviewed_ms: int | None = None
    version: int = 1


class Apply(Struct, frozen=True, kw_only=True):
    """A business wants to sell. Whoever applies is its first owner."""

    merchant_id: str
    name: str
    legal_name: str
    address: str


class ChangeMerchant(Struct, frozen=True, kw_only=True):
    """What it is called and where it is by now."""

    merchant_id: str
    name: str
    legal_name: str
    address: str


class MoveMerchant(Struct, frozen=True, kw_only=True):
    """A step of its life. `reason`: for those that come with one."""

    merchant_id: str
    event: ReviewEvent
    reason: ReviewReason | None = None


def apply(action: Apply, before: None, command: Command) -> Decision:
    """An account works for one merchant: who has one already applies for no second."""
    merchant = Merchant(
        merchant_id=action.merchant_id,
        name=action.name,
        legal_name=action.legal_name,
        address=action.address,
        created_ms=command.at_ms,
    )
    owner = Member(
        user_id=command.actor_id,
        merchant_id=merchant.merchant_id,
        job=Job.OWNER,
        created_ms=command.at_ms,
    )
    return Decision(shown=merchant, new=(merchant, owner), event="applied")


def change_merchant(action: ChangeMerchant, before: Merchant, command: Command) -> Decision:
    """What an operator has looked at is not changed behind their back: a legal name is settled with the approval."""
    if before.status in (ReviewStatus.APPROVED, ReviewStatus.SUSPENDED) and (
        action.legal_name != before.legal_name
    ):
        raise WrongState("The legal name was reviewed: ask an operator to change it.")
    after = replace(before, name=action.name, legal_name=action.legal_name, address=action.address)
    return Decision(shown=after, changed=after, event="changed")


def move_merchant(action: MoveMerchant, before: Merchant, command: Command) -> Decision:
    """The step by the table. `WrongState` where it has none, `Forbidden` where it is another role's."""
    edge = step(MERCHANT, before.status, action.event, command.role)
    is_review = command.role is not Role.MERCHANT
    after = replace(
        before,
        status=edge.to,
        reason=(action.reason or ReviewReason.OTHER) if edge.reasoned else None,
        reviewed_ms=command.at_ms if is_review else before.reviewed_ms,
    )
    return Decision(shown=after, changed=after, event=action.event.lower())
