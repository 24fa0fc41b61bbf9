"""Who somebody is, and how old."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

from msgspec import Struct


class Verdict(StrEnum):
    PASS = "pass"
    FAIL = "fail"
    REVIEW = "review"  # a person must look: not a pass


class AgeResult(Struct, frozen=True):
    """The outcome of an age check at checkout; `vendor_ref` is the vendor's token for its evidence."""

    verdict: Verdict
    vendor_ref: str


class IdResult(Struct, frozen=True):
    """The outcome of an ID check at the door. Flags only; `verdict` is REVIEW when the vendor is not sure."""

    verdict: Verdict
    over_age: bool
    not_expired: bool
    name_matches: bool
    vendor_ref: str


class IdentityVendor(Protocol):
    async def verify_age(self, *, request_id: str, vendor_token: str, min_age: int) -> AgeResult:
        """`VendorError` on failure. `request_id` makes a repeat harmless."""
        ...

    async def check_id(self, *, request_id: str, vendor_token: str, min_age: int) -> IdResult:
        """`VendorError` on failure."""
        ...
