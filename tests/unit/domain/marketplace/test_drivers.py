"""Until when a driver's documents allow to drive."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from domain.errors import DocumentsExpired, DocumentsMissing, DriverNotApproved, Forbidden, WrongState
from domain.marketplace.change import Command
from domain.marketplace.drivers import (
    DRIVER,
    REQUIRED,
    Document,
    DocumentKind,
    Driver,
    DriverReason,
    JudgeDocument,
    MoveDriver,
    Standing,
    judge_document,
    move_driver,
    require_fit,
)
from domain.marketplace.review import ReviewEvent, ReviewStatus
from domain.orders.lifecycle import Role

NOW_MS = 1_000


def command(role: Role = Role.ADMIN) -> Command:
    return Command(action=None, actor_id="me", role=role, at_ms=NOW_MS, owner_id=None)


def paper(kind: DocumentKind, expires_ms: int, document_id: str = "") -> Document:
    return Document(
        document_id=document_id or kind, kind=kind, last_four="4711", expires_ms=expires_ms, handed_in_ms=0
    )


def driver(*documents: Document) -> Driver:
    return Driver(driver_id="d", region_id="tx-dfw", created_ms=0, documents=documents)


def move(before: Driver, event: ReviewEvent, role: Role = Role.ADMIN) -> Driver:
    action = MoveDriver(driver_id="d", event=event, reason=DriverReason.OTHER)
    shown: Driver = move_driver(action, before, command(role)).shown
    return shown


def judge(before: Driver, document_id: str, accepted: bool) -> Driver:
    action = JudgeDocument(driver_id="d", document_id=document_id, accepted=accepted)
    shown: Driver = judge_document(action, before, command()).shown
    return shown


def test_the_first_kind_that_runs_out_ends_it_and_a_newer_one_counts() -> None:
    applied = driver(paper(DocumentKind.LICENSE, 5_000), paper(DocumentKind.INSURANCE, 3_000))
    approved = move(applied, ReviewEvent.APPROVED)
    assert approved.papers_until_ms == 3_000
    newer = replace(approved, documents=(*approved.documents, paper(DocumentKind.INSURANCE, 9_000, "new")))
    assert judge(newer, "new", accepted=True).papers_until_ms == 5_000
    assert judge(newer, "new", accepted=False).papers_until_ms == 3_000
    assert judge(newer, DocumentKind.INSURANCE, accepted=False).papers_until_ms == 0


def test_who_was_let_in_before_there_were_documents_is_bound_once_all_are_there() -> None:
    before = replace(
        driver(*(paper(kind, 5_000) for kind in REQUIRED)), status=ReviewStatus.APPROVED, reviewed_ms=0
    )
    one = judge(before, REQUIRED[0], accepted=True)
    assert one.papers_until_ms is None
    assert judge(one, REQUIRED[1], accepted=True).papers_until_ms == 5_000


@pytest.mark.parametrize("documents", [(), (paper(DocumentKind.LICENSE, 5_000),)])
def test_nobody_is_approved_without_what_must_be_there(documents: tuple[Document, ...]) -> None:
    with pytest.raises(DocumentsMissing):
        move(driver(*documents), ReviewEvent.APPROVED)
    expired = (paper(DocumentKind.LICENSE, 5_000), paper(DocumentKind.INSURANCE, NOW_MS))
    with pytest.raises(DocumentsMissing):
        move(driver(*expired), ReviewEvent.APPROVED)


@pytest.mark.parametrize("status", ReviewStatus)
@pytest.mark.parametrize("event", ReviewEvent)
@pytest.mark.parametrize("role", Role)
def test_a_step_is_in_the_table_or_is_none(status: ReviewStatus, event: ReviewEvent, role: Role) -> None:
    before = replace(driver(*(paper(kind, 5_000) for kind in REQUIRED)), status=status)
    edge = DRIVER.get((status, event))
    if edge is not None and role in edge.roles:
        after = move(before, event, role)
        assert after.status is edge.to
        assert (after.reason is not None) is edge.reasoned
    else:
        with pytest.raises(WrongState if edge is None else Forbidden):
            move(before, event, role)


def test_who_may_drive() -> None:
    assert require_fit(Standing(ReviewStatus.APPROVED, NOW_MS + 1), NOW_MS) == NOW_MS + 1
    assert require_fit(Standing(ReviewStatus.APPROVED), NOW_MS) is None
    with pytest.raises(DocumentsExpired):
        require_fit(Standing(ReviewStatus.APPROVED, NOW_MS), NOW_MS)
    for standing in (None, *(Standing(one) for one in ReviewStatus if one is not ReviewStatus.APPROVED)):
        with pytest.raises(DriverNotApproved):
            require_fit(standing, NOW_MS)
