"""Permits and registrations of merchants."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer
from sqlalchemy.orm import Mapped, mapped_column

from domain.marketplace.merchant_documents import (
    DOCUMENTS_LIMIT,
    NUMBER_LIMIT,
    HandIn,
    MerchantDocument,
    MerchantDocumentKind,
    Withdraw,
    hand_in,
    withdraw,
)
from persistence.marketplace.kind import Kind, Step
from persistence.reads.queries import table_of
from persistence.tables.base import Base, Uid, one_of


class MerchantDocumentRow(Base):
    """`domain.marketplace.merchant_documents.MerchantDocument`."""

    __tablename__ = "merchant_documents"
    document_id: Mapped[str] = mapped_column(Uid, primary_key=True)
    merchant_id: Mapped[str] = mapped_column(Uid, ForeignKey("merchants.merchant_id"))
    kind: Mapped[str]
    number: Mapped[str]
    created_ms: Mapped[int]
    expires_ms: Mapped[int | None]
    withdrawn_ms: Mapped[int | None]
    version: Mapped[int] = mapped_column(Integer)
    __table_args__ = (
        one_of("kind", MerchantDocumentKind),
        CheckConstraint(f"length(number) BETWEEN 1 AND {NUMBER_LIMIT}", name="number"),
        CheckConstraint("expires_ms > created_ms", name="expires"),
        CheckConstraint("version > 0", name="version"),
        Index("ix_merchant_documents_merchant", "merchant_id", "created_ms", "document_id"),
    )


DOCUMENTS = Kind(
    aggregate="merchant_document",
    table=table_of(MerchantDocumentRow),
    record=MerchantDocument,
    owner="merchant_id",
    changes=("withdrawn_ms",),
    quota=DOCUMENTS_LIMIT,
    missing="There is no such document.",
)
STEPS = {
    HandIn: Step(decide=hand_in, kind=DOCUMENTS),
    Withdraw: Step(decide=withdraw, kind=DOCUMENTS, on=DOCUMENTS),
}
