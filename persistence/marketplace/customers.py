"""Customers and their addresses."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer
from sqlalchemy.orm import Mapped, mapped_column

from domain.marketplace.customers import (
    ADDRESSES_LIMIT,
    INSTRUCTIONS_LIMIT,
    LINE_LIMIT,
    UNIT_LIMIT,
    AddAddress,
    Address,
    ChangeAddress,
    ChangeCustomer,
    Customer,
    EraseAddress,
    Language,
    PreferAddress,
    add_address,
    change_address,
    change_customer,
    erase_address,
    prefer_address,
)
from persistence.marketplace.kind import Kind, Step
from persistence.reads.queries import table_of
from persistence.tables.base import Base, Uid, on_earth, one_of


class CustomerRow(Base):
    """`domain.marketplace.customers.Customer`. Each account of role customer has one, from its first moment on."""

    __tablename__ = "customers"
    customer_id: Mapped[str] = mapped_column(Uid, ForeignKey("users.user_id"), primary_key=True)
    name: Mapped[str]
    created_ms: Mapped[int]
    phone: Mapped[str | None]
    language: Mapped[str]
    version: Mapped[int] = mapped_column(Integer)
    __table_args__ = (
        one_of("language", Language),
        CheckConstraint("length(name) BETWEEN 1 AND 200", name="name"),
        CheckConstraint("phone ~ '^\\+[1-9][0-9]{6,14}$'", name="phone"),
        CheckConstraint("version > 0", name="version"),
    )


class AddressRow(Base):
    """`domain.marketplace.customers.Address`. Rows go for good when they are erased."""

    __tablename__ = "addresses"
    address_id: Mapped[str] = mapped_column(Uid, primary_key=True)
    customer_id: Mapped[str] = mapped_column(Uid, ForeignKey("customers.customer_id"))
    region_id: Mapped[str]
    line: Mapped[str]
    unit: Mapped[str]
    city: Mapped[str]
    state: Mapped[str]
    zip: Mapped[str]
    lat: Mapped[float]
    lng: Mapped[float]
    instructions: Mapped[str]
    created_ms: Mapped[int]
    preferred_ms: Mapped[int | None]
    version: Mapped[int] = mapped_column(Integer)
    __table_args__ = (
        *on_earth(""),
        CheckConstraint(f"length(line) BETWEEN 1 AND {LINE_LIMIT}", name="line"),
        CheckConstraint(f"length(unit) <= {UNIT_LIMIT} AND length(city) BETWEEN 1 AND 100", name="city"),
        CheckConstraint(f"length(instructions) <= {INSTRUCTIONS_LIMIT}", name="instructions"),
        CheckConstraint("state ~ '^[A-Z]{2}$' AND zip ~ '^[0-9]{5}(-[0-9]{4})?$'", name="zip"),
        CheckConstraint("version > 0", name="version"),
        Index("ix_addresses_customer", "customer_id", "created_ms", "address_id"),
    )


CUSTOMERS = Kind(
    aggregate="customer",
    table=table_of(CustomerRow),
    record=Customer,
    owner="customer_id",
    changes=("name", "phone", "language"),
    missing="There is no such customer.",
)
ADDRESSES = Kind(
    aggregate="address",
    table=table_of(AddressRow),
    record=Address,
    owner="customer_id",
    market="region_id",
    changes=(
        *("region_id", "line", "unit", "city", "state", "zip"),
        *("lat", "lng", "instructions", "preferred_ms"),
    ),
    erasable=True,
    quota=ADDRESSES_LIMIT,
    missing="There is no such address.",
)
STEPS = {
    ChangeCustomer: Step(decide=change_customer, kind=CUSTOMERS, on=CUSTOMERS),
    AddAddress: Step(decide=add_address, kind=ADDRESSES, on=CUSTOMERS),
    ChangeAddress: Step(decide=change_address, kind=ADDRESSES, on=ADDRESSES),
    PreferAddress: Step(decide=prefer_address, kind=ADDRESSES, on=ADDRESSES),
    EraseAddress: Step(decide=erase_address, kind=ADDRESSES, on=ADDRESSES),
}
