"""Drivers: people who apply, hand in documents, are reviewed by operators, and drive while they are approved and their
documents are good.

What may come after what is a table (`DRIVER`). An application is one record with its documents, so that a decision sees
all of them. Of a document its kind, the last four characters of its number and its expiry are kept, and nothing else:
the number itself never comes here, and a digest of so short a number could be undone.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from domain.errors import (
    DocumentsExpired,
    DocumentsMissing,
    DriverNotApproved,
    InvalidRequest,
    LimitReached,
    NotFound,
)
from domain.marketplace.change import Command, Decision
from domain.marketplace.review import ReviewEvent, ReviewStatus, step, steps_of
from domain.orders.lifecycle import Role

DOCUMENTS_LIMIT = 40  # of a driver, those that were replaced among them


class DriverReason(StrEnum):
    """Why a driver may not drive, or a document is not taken: a closed list, for it is told."""

    DOCUMENTS_MISSING = "DOCUMENTS_MISSING"
    DOCUMENTS_EXPIRED = "DOCUMENTS_EXPIRED"
    DOCUMENT_NOT_VALID = "DOCUMENT_NOT_VALID"
    NOT_OF_AGE = "NOT_OF_AGE"
    BACKGROUND_CHECK = "BACKGROUND_CHECK"
    SOLD_TO_A_MINOR = "SOLD_TO_A_MINOR"
    COMPLAINTS = "COMPLAINTS"
    SUSPECTED_FRAUD = "SUSPECTED_FRAUD"
    AT_OWN_REQUEST = "AT_OWN_REQUEST"
    OTHER = "OTHER"


class DocumentKind(StrEnum):
    """What a driver hands in."""

    LICENSE = "LICENSE"  # to drive
    INSURANCE = "INSURANCE"  # of the vehicle
    SELLER_CERTIFICATE = "SELLER_CERTIFICATE"  # of a seller training, where goods want one


REQUIRED = (DocumentKind.LICENSE, DocumentKind.INSURANCE)


class DocumentStatus(StrEnum):
    """What was said of a document."""

    HANDED_IN = "HANDED_IN"
    ACCEPTED = "ACCEPTED"
    REFUSED = "REFUSED"


class Document(Struct, frozen=True, kw_only=True):
    """`last_four`: of its number; `expires_ms`: from when on it is good no more."""

    document_id: str
    kind: DocumentKind
    last_four: str
    expires_ms: int
    handed_in_ms: int
    status: DocumentStatus = DocumentStatus.HANDED_IN
    reason: DriverReason | None = None


DRIVER = steps_of(Role.DRIVER)


class Driver(Struct, frozen=True, kw_only=True):
    """A driver. `papers_until_ms`: when the first of the kinds that must be there runs out, None while that is not
    bound to any (accounts of before there were documents); `reason`: why they do not drive, where an operator said so;
    `reviewed_ms`: when one last did."""

    driver_id: str
    region_id: str
    created_ms: int
    documents: tuple[Document, ...] = ()
    status: ReviewStatus = ReviewStatus.APPLIED
    reason: DriverReason | None = None
    reviewed_ms: int | None = None
    papers_until_ms: int | None = None
    version: int = 1


class Standing(Struct, frozen=True):
    """What there is to know of a driver who wants to drive; see `Driver`."""

    status: ReviewStatus
    papers_until_ms: int | None = None


def require_fit(standing: Standing | None, now_ms: int) -> int | None:
    """Until when this driver may drive, by server ms; None: no document says so. `DriverNotApproved` for one who never
    applied (None) or is not approved, `DocumentsExpired` for one whose documents have run out."""
    if standing is None:
        raise DriverNotApproved("You have not applied yet.")
    if standing.status is not ReviewStatus.APPROVED:
        raise DriverNotApproved(f"Your application is {standing.status}.")
    if standing.papers_until_ms is not None and standing.papers_until_ms <= now_ms:
        raise DocumentsExpired()
    return standing.papers_until_ms


class ApplyToDrive(Struct, frozen=True, kw_only=True):
    """The account wants to drive in a market."""

    region_id: str
    documents: tuple[Document, ...]


class HandInDocument(Struct, frozen=True, kw_only=True):
    """One more document, or a newer one of a kind."""

    driver_id: str
    document: Document


class MoveDriver(Struct, frozen=True, kw_only=True):
    """A step of the driver's life. `reason`: for those that come with one."""

    driver_id: str
    event: ReviewEvent
    reason: DriverReason | None = None


class JudgeDocument(Struct, frozen=True, kw_only=True):
    """Whether a document is taken; a `reason` where it is not."""

    driver_id: str
    document_id: str
    accepted: bool
    reason: DriverReason = DriverReason.OTHER


def apply_to_drive(action: ApplyToDrive, before: None, command: Command) -> Decision:
    """An account applies once; what is missing comes later."""
    for document in action.documents:
        _require_good(document, command.at_ms)
    driver = Driver(
        driver_id=command.actor_id,
        region_id=action.region_id,
        created_ms=command.at_ms,
        documents=action.documents,
    )
    return Decision(shown=driver, new=(driver,), event="applied")


def hand_in_document(action: HandInDocument, before: Driver, command: Command) -> Decision:
    """It counts once an operator has taken it. One that was handed in never changes."""
    _require_good(action.document, command.at_ms)
    if len(before.documents) >= DOCUMENTS_LIMIT:
        raise LimitReached()
    after = replace(before, documents=(*before.documents, action.document))
    return Decision(shown=after, changed=after, event="document_handed_in")


def move_driver(action: MoveDriver, before: Driver, command: Command) -> Decision:
    """The step by the table. Whom an operator approves has handed in all that must be there, and that is taken with the
    approval. `WrongState` where the table has no step, `Forbidden` where it is another role's."""
    edge = step(DRIVER, before.status, action.event, command.role)
    after = replace(
        before,
        status=edge.to,
        reason=(action.reason or DriverReason.OTHER) if edge.reasoned else None,
        reviewed_ms=before.reviewed_ms if command.role is Role.DRIVER else command.at_ms,
    )
    if action.event is ReviewEvent.APPROVED:
        taken = tuple(
            replace(one, status=DocumentStatus.ACCEPTED) if one.status is DocumentStatus.HANDED_IN else one
            for one in before.documents
        )
        after = _with_papers(after, taken)
        if after.papers_until_ms is None or after.papers_until_ms <= command.at_ms:
            raise DocumentsMissing()
    return Decision(shown=after, changed=after, event=action.event.lower())


def judge_document(action: JudgeDocument, before: Driver, command: Command) -> Decision:
    """A document is judged as often as need be: one that was taken by mistake can be refused."""
    known = {one.document_id: one for one in before.documents}
    if action.document_id not in known:
        raise NotFound("There is no such document.")
    status = DocumentStatus.ACCEPTED if action.accepted else DocumentStatus.REFUSED
    reason = None if action.accepted else action.reason
    known[action.document_id] = replace(known[action.document_id], status=status, reason=reason)
    after = _with_papers(before, tuple(known.values()))
    if before.papers_until_ms is None and not after.papers_until_ms:
        after = replace(
            after, papers_until_ms=None
        )  # let in before there were documents, and not through with them
    return Decision(shown=after, changed=after, event="document_judged")


def _require_good(document: Document, now_ms: int) -> None:
    if document.expires_ms <= now_ms:
        raise InvalidRequest("A document has expired.")


def _with_papers(driver: Driver, documents: tuple[Document, ...]) -> Driver:
    """The driver with these documents, and until when they allow to drive: of each kind that must be there the one that
    is good for longest counts, of the kinds the first that runs out. With a kind missing they allow nothing."""
    latest: dict[DocumentKind, int] = {}
    for one in documents:
        if one.status is DocumentStatus.ACCEPTED:
            latest[one.kind] = max(latest.get(one.kind, 0), one.expires_ms)
    until_ms = min(latest.get(kind, 0) for kind in REQUIRED)
    return replace(driver, documents=documents, papers_until_ms=until_ms)
