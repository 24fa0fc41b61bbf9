"""Who works for a merchant. That a merchant keeps an owner is a trigger's: it sees those who go at the same moment."""

from __future__ import annotations

from functools import partial

from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer
from sqlalchemy.orm import Mapped, mapped_column

from domain.errors import AlreadyEmployed, LastOwner, NotFound
from domain.marketplace.party import Job
from domain.marketplace.staff import (
    STAFF_LIMIT,
    AddMember,
    Member,
    RemoveMember,
    SetJob,
    add_member,
    remove_member,
    set_job,
)
from persistence.marketplace.kind import Kind, Step
from persistence.reads.queries import table_of
from persistence.tables.base import Base, Uid, one_of


class MemberRow(Base):
    """`domain.marketplace.staff.Member`. An account works for one merchant: it is the key."""

    __tablename__ = "merchant_staff"
    user_id: Mapped[str] = mapped_column(Uid, ForeignKey("users.user_id"), primary_key=True)
    merchant_id: Mapped[str] = mapped_column(Uid, ForeignKey("merchants.merchant_id"))
    job: Mapped[str]
    created_ms: Mapped[int]
    version: Mapped[int] = mapped_column(Integer)
    __table_args__ = (
        one_of("job", Job),
        CheckConstraint("version > 0", name="version"),
        Index("ix_merchant_staff_merchant", "merchant_id", "created_ms", "user_id"),
    )


STAFF = Kind(
    aggregate="staff",
    table=table_of(MemberRow),
    record=Member,
    owner="merchant_id",
    changes=("job",),
    erasable=True,
    quota=STAFF_LIMIT,
    missing="Nobody of this id works for you.",
    refusals={
        "pk_merchant_staff": AlreadyEmployed,
        "fk_merchant_staff_user_id": partial(NotFound, "There is no such account."),
        "merchant_staff_last_owner": LastOwner,
    },
)
STEPS = {
    AddMember: Step(decide=add_member, kind=STAFF),
    SetJob: Step(decide=set_job, kind=STAFF, on=STAFF),
    RemoveMember: Step(decide=remove_member, kind=STAFF, on=STAFF),
}
