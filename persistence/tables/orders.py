"""Orders, their tasks and their evidence."""

from __future__ import annotations

from typing import Any

from sqlalchemy import CheckConstraint, Computed, ForeignKey, Index, Integer, LargeBinary, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from domain.orders.commands import QUANTITY_LIMIT
from domain.orders.lifecycle import TASK_ENDED, OrderEvent, OrderStatus, TaskKind, TaskStatus
from domain.orders.records import CheckOutcome
from persistence.tables.base import Base, Uid, on_earth, one_of


class Order(Base):
    """`domain.orders.state.OrderState` with the head of its dossier, so that a chain grows without being read."""

    __tablename__ = "orders"
    order_id: Mapped[str] = mapped_column(Uid, primary_key=True)
    region_id: Mapped[str]
    customer_id: Mapped[str] = mapped_column(Uid)
    merchant_id: Mapped[str] = mapped_column(Uid)
    store_id: Mapped[str] = mapped_column(Uid, ForeignKey("stores.store_id"))
    status: Mapped[str]
    version: Mapped[int] = mapped_column(Integer)
    min_age: Mapped[int] = mapped_column(Integer)
    goods_cents: Mapped[int]
    fee_cents: Mapped[int]
    tax_cents: Mapped[int]
    tip_cents: Mapped[int]
    total_cents: Mapped[int]
    pickup_lat: Mapped[float]
    pickup_lng: Mapped[float]
    dropoff_lat: Mapped[float]
    dropoff_lng: Mapped[float]
    dropoff_address: Mapped[str]
    created_ms: Mapped[int]
    updated_ms: Mapped[int]
    age_attempts: Mapped[int] = mapped_column(Integer)
    payment_ref: Mapped[str | None]
    ready_ms: Mapped[int | None]
    due_ms: Mapped[int | None]
    payment_open_ms: Mapped[int | None]
    payments: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, server_default=text("'[]'"))
    dossier_seq: Mapped[int] = mapped_column(Integer)
    dossier_hash: Mapped[bytes] = mapped_column(LargeBinary)
    # The status is in no index on purpose, and pages are half full: nearly all updates then stay on their page (HOT).
    __table_args__ = (
        one_of("status", OrderStatus),
        *on_earth("pickup_", "dropoff_"),
        CheckConstraint("version > 0 AND dossier_seq > 0 AND octet_length(dossier_hash) = 32", name="head"),
        CheckConstraint("min_age >= 0 AND total_cents >= 0 AND age_attempts >= 0", name="amounts"),
        CheckConstraint(
            "least(goods_cents, fee_cents, tax_cents, tip_cents) >= 0"
            " AND total_cents = goods_cents + fee_cents + tax_cents + tip_cents",
            name="total",
        ),
        Index("ix_orders_customer", "customer_id", "created_ms", "order_id"),
        Index("ix_orders_merchant", "merchant_id", "created_ms", "order_id"),
        Index("ix_orders_created", "created_ms", "order_id"),
        Index("ix_orders_region", "region_id"),
        Index(
            "ix_orders_payment_open",
            "payment_open_ms",
            postgresql_where=text("payment_open_ms IS NOT NULL"),
        ),
        {"postgresql_with": {"fillfactor": "50"}},
    )


class OrderItem(Base):
    __tablename__ = "order_items"
    order_id: Mapped[str] = mapped_column(Uid, ForeignKey("orders.order_id"), primary_key=True)
    line: Mapped[int] = mapped_column(Integer, primary_key=True)
    product_id: Mapped[str] = mapped_column(Uid, ForeignKey("products.product_id"))
    quantity: Mapped[int] = mapped_column(Integer)
    price_cents: Mapped[int]  # apiece
    tax_cents: Mapped[int]  # on all of the line
    __table_args__ = (
        CheckConstraint(f"quantity BETWEEN 1 AND {QUANTITY_LIMIT}", name="quantity"),
        CheckConstraint("price_cents >= 0 AND tax_cents >= 0", name="amounts"),
    )


_ENDED = ", ".join(f"'{status}'" for status in sorted(TASK_ENDED))
_LIVE = f"status NOT IN ({_ENDED})"


class Task(Base):
    """`domain.orders.records.TaskRow`."""

    __tablename__ = "tasks"
    task_id: Mapped[str] = mapped_column(Uid, primary_key=True)
    order_id: Mapped[str] = mapped_column(Uid, ForeignKey("orders.order_id"), index=True)
    region_id: Mapped[str]
    kind: Mapped[str]
    status: Mapped[str]
    store_id: Mapped[str] = mapped_column(Uid)
    pickup_lat: Mapped[float]
    pickup_lng: Mapped[float]
    dropoff_lat: Mapped[float]
    dropoff_lng: Mapped[float]
    dropoff_address: Mapped[str]
    min_age: Mapped[int] = mapped_column(Integer)
    opened_ms: Mapped[int]
    ready_ms: Mapped[int]
    due_ms: Mapped[int]
    driver_id: Mapped[str | None] = mapped_column(Uid)
    offer_id: Mapped[str | None] = mapped_column(Uid)
    ended_ms: Mapped[int | None]
    closes_ms: Mapped[int | None]
    arrived_ms: Mapped[int | None]
    # Conditions of indexes name this and not the status: a step that ends nothing then stays on its page (HOT).
    live: Mapped[bool] = mapped_column(Computed(_LIVE, persisted=True))
    __table_args__ = (
        one_of("kind", TaskKind),
        one_of("status", TaskStatus),
        *on_earth("pickup_", "dropoff_"),
        CheckConstraint("min_age >= 0", name="min_age"),
        CheckConstraint("status <> 'OPEN' OR driver_id IS NULL", name="open_is_free"),
        CheckConstraint(
            "status IN ('OPEN', 'OFFERED', 'CANCELLED') OR driver_id IS NOT NULL", name="held_has_driver"
        ),
        # `uq_tasks_delivery`: an order has one delivery under way at most.
        Index(
            "uq_tasks_delivery", "order_id", unique=True, postgresql_where=text("kind = 'DELIVERY' AND live")
        ),
        Index("ix_tasks_opened", "opened_ms", "task_id"),
        Index("ix_tasks_region", "region_id", "live", "ended_ms"),
        Index("ix_tasks_driver", "driver_id", "live", postgresql_where=text("driver_id IS NOT NULL")),
        {"postgresql_with": {"fillfactor": "50"}},
    )


class DossierEvent(Base):
    """`domain.orders.dossier.Entry`. Append-only: triggers refuse update, delete, truncate, a link that does not fit
    and a step that the lifecycle does not have."""

    __tablename__ = "dossier_events"
    order_id: Mapped[str] = mapped_column(Uid, ForeignKey("orders.order_id"), primary_key=True)
    seq: Mapped[int] = mapped_column(Integer, primary_key=True)
    type: Mapped[str]
    status: Mapped[str]
    at_ms: Mapped[int]
    actor: Mapped[str]
    payload: Mapped[dict[str, Any]] = mapped_column(JSONB)
    prev_hash: Mapped[bytes] = mapped_column(LargeBinary)
    hash: Mapped[bytes] = mapped_column(LargeBinary)
    __table_args__ = (
        one_of("type", OrderEvent),
        one_of("status", OrderStatus),
        CheckConstraint("seq > 0 AND octet_length(prev_hash) = 32 AND octet_length(hash) = 32", name="link"),
        Index("ix_dossier_events_at", "at_ms"),
    )


class DoorstepCheck(Base):
    """`domain.orders.records.DoorCheck`. Append-only, like the dossier, and only while the order is at its door."""

    __tablename__ = "doorstep_checks"
    check_id: Mapped[str] = mapped_column(Uid, primary_key=True)
    order_id: Mapped[str] = mapped_column(Uid, ForeignKey("orders.order_id"), index=True)
    task_id: Mapped[str] = mapped_column(Uid, ForeignKey("tasks.task_id"))
    driver_id: Mapped[str] = mapped_column(Uid)
    passed: Mapped[bool]
    over_age: Mapped[bool]
    not_expired: Mapped[bool]
    name_matches: Mapped[bool]
    sober: Mapped[bool]
    method: Mapped[str]
    vendor_ref: Mapped[str]
    at_ms: Mapped[int]
    unclear: Mapped[str | None]  # why it came to nothing; NULL where it passed or failed
    __table_args__ = (
        CheckConstraint("NOT passed OR (over_age AND not_expired AND name_matches AND sober)", name="passed"),
        CheckConstraint(
            "unclear IS NULL OR (NOT passed AND unclear IN ('REVIEW', 'UNAVAILABLE'))", name="unclear"
        ),
    )


class AgeAttempt(Base):
    """`domain.orders.records.AgeAttempt`. A trigger lets a try have one outcome and stay."""

    __tablename__ = "age_attempts"
    attempt_id: Mapped[str] = mapped_column(Uid, primary_key=True)
    customer_id: Mapped[str] = mapped_column(Uid)
    order_id: Mapped[str] = mapped_column(Uid, ForeignKey("orders.order_id"), index=True)
    min_age: Mapped[int] = mapped_column(Integer)
    at_ms: Mapped[int]
    outcome: Mapped[str]
    vendor_ref: Mapped[str]
    __table_args__ = (
        one_of("outcome", CheckOutcome),
        CheckConstraint("octet_length(vendor_ref) <= 128", name="vendor_ref"),
        Index("ix_age_attempts_customer", "customer_id", "at_ms"),
    )


class OrderNote(Base):
    """`persistence.reads.views.OrderNote`: what somebody typed beside a reason. May be erased."""

    __tablename__ = "order_notes"
    note_id: Mapped[str] = mapped_column(Uid, primary_key=True)
    order_id: Mapped[str] = mapped_column(Uid, ForeignKey("orders.order_id"))
    author_id: Mapped[str] = mapped_column(Uid)
    author_role: Mapped[str]
    about: Mapped[str]
    at_ms: Mapped[int]
    text: Mapped[str]
    __table_args__ = (
        CheckConstraint("length(text) BETWEEN 1 AND 2000", name="text"),
        Index("uq_order_notes_step", "order_id", "author_id", "about", unique=True),
    )
