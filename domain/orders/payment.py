"""Authorizations of an order's total: each that a vendor may have been asked for is on the order's row before it is.

A vendor's request is named after the order and the number of the authorization, which rises only when the one before is
over. So tries side by side are one request, and whatever came of it can be asked for, or let go, by its name.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

ATTEMPTS_LIMIT = 10  # authorizations of one order


class AttemptStatus(StrEnum):
    OPEN = "OPEN"  # the vendor is being asked, or nobody knows what it said
    HELD = "HELD"  # the order's own
    DECLINED = "DECLINED"
    TAKEN = "TAKEN"  # the order's own, and the money is ours
    VOIDED = "VOIDED"  # the order's own, and the customer's again
    LET_GO = "LET_GO"  # nobody wants it any more, whatever the vendor says or will say


class Attempt(Struct, frozen=True, kw_only=True):
    """One authorization. `token`: a digest of the vendor token that it is made with; `amount_cents`: what is held,
    where it is the order's own."""

    number: int
    token: str
    status: AttemptStatus
    begun_ms: int  # when the vendor was last about to be asked
    vendor_ref: str | None = None
    amount_cents: int | None = None


class Undo(Struct, frozen=True):
    """Payload of `payment.undo`: let go what was granted under this request; `vendor_ref` where it is known."""

    request_id: str
    vendor_ref: str | None


def request_id(order_id: str, number: int) -> str:
    """The name of an authorization at the vendor."""
    return f"authorize:{order_id}:{number}"


def open_attempt(attempts: tuple[Attempt, ...]) -> Attempt | None:
    """The one that is not over: none but the last can be."""
    return attempts[-1] if attempts and attempts[-1].status is AttemptStatus.OPEN else None


def numbered(attempts: tuple[Attempt, ...], number: int | None, vendor_ref: str, now_ms: int) -> Attempt:
    """The one of this number (None: the open one, or the one that this came of); as if it had been begun now where
    there is none."""
    if number is None:
        known = [one.number for one in attempts if one.vendor_ref == vendor_ref]
        number = attempts[-1].number if open_attempt(attempts) else (known or [len(attempts)])[0]
    for attempt in attempts:
        if attempt.number == number:
            return attempt
    return Attempt(number=number, token="", status=AttemptStatus.OPEN, begun_ms=now_ms)


def ended(
    attempts: tuple[Attempt, ...], attempt: Attempt, status: AttemptStatus, vendor_ref: str | None
) -> tuple[Attempt, ...]:
    """The attempts with this one ended."""
    after = replace(attempt, status=status, vendor_ref=vendor_ref)
    others = [one for one in attempts if one.number != attempt.number]
    return tuple(sorted([*others, after], key=lambda one: one.number))
