"""What a merchant hands in to be looked at: permits and registrations, by number and expiry. No pictures are kept."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from domain.errors import InvalidRequest, WrongState
from domain.marketplace.change import Command, Decision

DOCUMENTS_LIMIT = 500  # of a merchant, withdrawn ones among them
NUMBER_LIMIT = 64  # characters of a permit's number


class MerchantDocumentKind(StrEnum):
    """What it permits, or shows."""

    SALES_TAX_PERMIT = "SALES_TAX_PERMIT"  # Tex. Tax Code 151.201
    TOBACCO_PERMIT = (
        "TOBACCO_PERMIT"  # retailer's, cigarettes and tobacco products: Tex. Tax Code 154.101, 155.041
    )
    E_CIGARETTE_PERMIT = "E_CIGARETTE_PERMIT"  # Tex. Health & Safety Code 147.0052
    ALCOHOL_LICENSE = "ALCOHOL_LICENSE"  # TABC permit or license
    HEMP_REGISTRATION = "HEMP_REGISTRATION"  # retail hemp: Tex. Health & Safety Code 443
    BUSINESS_REGISTRATION = "BUSINESS_REGISTRATION"
    LIABILITY_INSURANCE = "LIABILITY_INSURANCE"


class MerchantDocument(Struct, frozen=True, kw_only=True):
    """A document. `expires_ms`: from when on it is good no more, None for never; `withdrawn_ms`: since when its
    merchant does not stand by it."""

    document_id: str
    merchant_id: str
    kind: MerchantDocumentKind
    number: str
    created_ms: int
    expires_ms: int | None = None
    withdrawn_ms: int | None = None
    version: int = 1


class HandIn(Struct, frozen=True, kw_only=True):
    """A document of the merchant that the actor works for."""

    document_id: str
    kind: MerchantDocumentKind
    number: str
    expires_ms: int | None


class Withdraw(Struct, frozen=True, kw_only=True):
    """It is not to count any more."""

    document_id: str


def hand_in(action: HandIn, before: None, command: Command) -> Decision:
    """What has expired is no document. One that was handed in never changes: a new number is a new one."""
    if action.expires_ms is not None and action.expires_ms <= command.at_ms:
        raise InvalidRequest("The document has expired.")
    document = MerchantDocument(
        document_id=action.document_id,
        merchant_id=command.merchant_id,
        kind=action.kind,
        number=action.number,
        expires_ms=action.expires_ms,
        created_ms=command.at_ms,
    )
    return Decision(shown=document, new=(document,), event="handed_in")


def withdraw(action: Withdraw, before: MerchantDocument, command: Command) -> Decision:
    """`WrongState` for one that was withdrawn."""
    if before.withdrawn_ms is not None:
        raise WrongState("This document was withdrawn.")
    after = replace(before, withdrawn_ms=command.at_ms)
    return Decision(shown=after, changed=after, event="withdrawn")
