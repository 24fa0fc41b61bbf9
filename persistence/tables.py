"""The tables, as SQLAlchemy models. Ids are native `uuid` (strings in Python), times `*_ms` are BIGINT milliseconds on
the server's clock, money is integer cents, coordinates are WGS84 degrees.

Triggers (the lifecycle's second lock) are not part of the models: see `migrations/versions/0002_locks.py`,
`0003_gates.py`, `0004_store_hours.py` and `0006_under_load.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Computed,
    DateTime,
    Float,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from domain.hours import OPENINGS_LIMIT
from domain.lifecycle import TASK_ENDED, OfferStatus, OrderEvent, OrderStatus, Role, TaskKind, TaskStatus
from domain.order import PRICE_LIMIT_CENTS, QUANTITY_LIMIT
from domain.ports import Channel
from domain.records import CheckOutcome

Uid = Uuid(as_uuid=False)


class Base(DeclarativeBase):
    """Every constraint has a stable name: a refused record is reported by it."""

    metadata = MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
        }
    )
    type_annotation_map = {str: Text, int: BigInteger, float: Float(53)}  # noqa: RUF012 - read by SQLAlchemy


def _one_of(column: str, values: Iterable[str]) -> CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=column)


def _on_earth(*names: str) -> tuple[CheckConstraint, ...]:
    """Latitude and longitude ranges; NaN and the infinities fail them too."""
    return tuple(
        CheckConstraint(
            f"{name}lat BETWEEN -90 AND 90 AND {name}lng BETWEEN -180 AND 180", name=f"{name or 'on_'}earth"
        )
        for name in names
    )


class User(Base):
    """An account. A user of role merchant is the merchant: `merchant_id` elsewhere is this id."""

    __tablename__ = "users"
    user_id: Mapped[str] = mapped_column(Uid, primary_key=True)
    email: Mapped[str]
    password_hash: Mapped[str]
    role: Mapped[str]
    name: Mapped[str]
    created_ms: Mapped[int]
    token_version: Mapped[int] = mapped_column(Integer, server_default="1")
    disabled_ms: Mapped[int | None]
    __table_args__ = (_one_of("role", Role), Index("uq_users_email", text("lower(email)"), unique=True))


# A `domain.hours.Opening`. What has not its form at all is not known to be one, and so is none.
_OPENING = (
    "strict $[*] ? (@.weekday == @.weekday.floor() && @.weekday >= 0 && @.weekday <= 6"
    " && @.opens_min == @.opens_min.floor() && @.opens_min >= 0 && @.opens_min <= 1439"
    " && @.closes_min == @.closes_min.floor() && @.closes_min - @.opens_min >= 1"
    " && @.closes_min - @.opens_min <= 1440)"
)


class Store(Base):
    __tablename__ = "stores"
    store_id: Mapped[str] = mapped_column(Uid, primary_key=True)
    merchant_id: Mapped[str] = mapped_column(Uid, ForeignKey("users.user_id"), index=True)
    region_id: Mapped[str] = mapped_column(index=True)
    name: Mapped[str]
    lat: Mapped[float]
    lng: Mapped[float]
    address: Mapped[str]
    hours: Mapped[list[dict[str, int]] | None] = mapped_column(JSONB(none_as_null=True))
    version: Mapped[int] = mapped_column(Integer, server_default="1")
    __table_args__ = (
        *_on_earth(""),
        CheckConstraint(
            f"hours IS NULL OR jsonb_array_length(hours) <= {OPENINGS_LIMIT} AND jsonb_array_length(hours) ="
            f" jsonb_array_length(jsonb_path_query_array(hours, '{_OPENING}'))",
            name="hours",
        ),
        CheckConstraint("version > 0", name="version"),
    )


class Product(Base):
    __tablename__ = "products"
    product_id: Mapped[str] = mapped_column(Uid, primary_key=True)
    store_id: Mapped[str] = mapped_column(Uid, ForeignKey("stores.store_id"), index=True)
    name: Mapped[str]
    category: Mapped[str]
    price_cents: Mapped[int]
    __table_args__ = (CheckConstraint(f"price_cents BETWEEN 0 AND {PRICE_LIMIT_CENTS}", name="price"),)


class Order(Base):
    """`domain.order.OrderState` with the head of its dossier, so that a chain grows without being read."""

    __tablename__ = "orders"
    order_id: Mapped[str] = mapped_column(Uid, primary_key=True)
    region_id: Mapped[str]
    customer_id: Mapped[str] = mapped_column(Uid)
    merchant_id: Mapped[str] = mapped_column(Uid)
    store_id: Mapped[str] = mapped_column(Uid, ForeignKey("stores.store_id"))
    status: Mapped[str]
    version: Mapped[int] = mapped_column(Integer)
    min_age: Mapped[int] = mapped_column(Integer)
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
        _one_of("status", OrderStatus),
        *_on_earth("pickup_", "dropoff_"),
        CheckConstraint("version > 0 AND dossier_seq > 0 AND octet_length(dossier_hash) = 32", name="head"),
        CheckConstraint("min_age >= 0 AND total_cents >= 0 AND age_attempts >= 0", name="amounts"),
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
    __table_args__ = (CheckConstraint(f"quantity BETWEEN 1 AND {QUANTITY_LIMIT}", name="quantity"),)


_ENDED = ", ".join(f"'{status}'" for status in sorted(TASK_ENDED))
_LIVE = f"status NOT IN ({_ENDED})"


class Task(Base):
    """`domain.records.TaskRow`."""

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
    # Conditions of indexes name this and not the status: a step that ends nothing then stays on its page (HOT).
    live: Mapped[bool] = mapped_column(Computed(_LIVE, persisted=True))
    __table_args__ = (
        _one_of("kind", TaskKind),
        _one_of("status", TaskStatus),
        *_on_earth("pickup_", "dropoff_"),
        CheckConstraint("min_age >= 0", name="min_age"),
        CheckConstraint("status <> 'OPEN' OR driver_id IS NULL", name="open_is_free"),
        CheckConstraint(
            "status IN ('OPEN', 'OFFERED', 'CANCELLED') OR driver_id IS NOT NULL", name="held_has_driver"
        ),
        # `uq_tasks_delivery`: an order has one delivery under way at most.
        Index(
            "uq_tasks_delivery", "order_id", unique=True, postgresql_where=text("kind = 'DELIVERY' AND live")
        ),
        Index("ix_tasks_region", "region_id", "live", "ended_ms"),
        Index("ix_tasks_driver", "driver_id", "live", postgresql_where=text("driver_id IS NOT NULL")),
        {"postgresql_with": {"fillfactor": "50"}},
    )


class Offer(Base):
    """`domain.records.OfferRow`: the offer log, one row per offer with its features and its outcome."""

    __tablename__ = "offers"
    offer_id: Mapped[str] = mapped_column(Uid, primary_key=True)
    region_id: Mapped[str]
    driver_id: Mapped[str] = mapped_column(Uid)
    task_ids: Mapped[list[str]] = mapped_column(ARRAY(Uid))
    status: Mapped[str]
    made_ms: Mapped[int]
    expires_ms: Mapped[int]
    features: Mapped[dict[str, Any]] = mapped_column(JSONB)
    seen_ms: Mapped[int | None]
    closed_ms: Mapped[int | None]
    reason: Mapped[str | None]
    __table_args__ = (
        _one_of("status", OfferStatus),
        CheckConstraint("cardinality(task_ids) > 0", name="task_ids"),
        CheckConstraint("(status = 'OFFERED') = (closed_ms IS NULL)", name="closed"),
        Index("ix_offers_driver_live", "driver_id", postgresql_where=text("closed_ms IS NULL")),
        Index("ix_offers_region", "region_id", "closed_ms"),
        Index("ix_offers_made", "made_ms", "offer_id"),
    )


class OfferExplanation(Base):
    """`domain.solve.Explanation` of an offer, as it was when the offer was made. Swept after a while."""

    __tablename__ = "offer_explanations"
    offer_id: Mapped[str] = mapped_column(Uid, ForeignKey("offers.offer_id"), primary_key=True)
    region_id: Mapped[str]
    made_ms: Mapped[int]
    explanation: Mapped[dict[str, Any]] = mapped_column(JSONB)
    __table_args__ = (Index("ix_offer_explanations_made", "made_ms"),)


class DossierEvent(Base):
    """`domain.dossier.Entry`. Append-only: triggers refuse update, delete, truncate, a link that does not fit and
    a step that the lifecycle does not have."""

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
        _one_of("type", OrderEvent),
        _one_of("status", OrderStatus),
        CheckConstraint("seq > 0 AND octet_length(prev_hash) = 32 AND octet_length(hash) = 32", name="link"),
        Index("ix_dossier_events_at", "at_ms"),
    )


class DoorstepCheck(Base):
    """`domain.records.DoorCheck`. Append-only, like the dossier, and only while the order is at its door."""

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
    """`domain.records.AgeAttempt`. A trigger lets a try have one outcome and stay."""

    __tablename__ = "age_attempts"
    attempt_id: Mapped[str] = mapped_column(Uid, primary_key=True)
    customer_id: Mapped[str] = mapped_column(Uid)
    order_id: Mapped[str] = mapped_column(Uid, ForeignKey("orders.order_id"), index=True)
    min_age: Mapped[int] = mapped_column(Integer)
    at_ms: Mapped[int]
    outcome: Mapped[str]
    vendor_ref: Mapped[str]
    __table_args__ = (
        _one_of("outcome", CheckOutcome),
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


class Idempotency(Base):
    """`domain.records.StoredAnswer`. `region_id` is set on the answers that a region gave."""

    __tablename__ = "idempotency"
    scope: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[str]
    code: Mapped[str | None]
    detail: Mapped[str]
    body: Mapped[dict[str, Any]] = mapped_column(
        JSON
    )  # not JSONB: a repeat gets the fields in the same order
    region_id: Mapped[str | None]
    at_ms: Mapped[int]
    __table_args__ = (
        Index("ix_idempotency_at", "at_ms"),
        Index("ix_idempotency_region", "region_id", "at_ms", postgresql_where=text("region_id IS NOT NULL")),
    )


class Outbox(Base):
    """`domain.records.OutboxEvent`. `done_at` and `next_try_at` are wall time. `stage`: NEW, AGAIN (was not taken, and
    is tried again) or DEAD (a dead letter: tried no more until a person says so); `reason`: why it was not taken."""

    __tablename__ = "outbox"
    event_id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    channel: Mapped[str]
    topic: Mapped[str]
    region_id: Mapped[str]
    order_id: Mapped[str] = mapped_column(Uid)
    at_ms: Mapped[int]
    payload: Mapped[dict[str, Any]] = mapped_column(JSON)
    done_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    stage: Mapped[str] = mapped_column(server_default="NEW")
    attempts: Mapped[int] = mapped_column(Integer, server_default="0")
    next_try_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    reason: Mapped[str | None]
    __table_args__ = (
        _one_of("channel", Channel),
        _one_of("stage", ("NEW", "AGAIN", "DEAD")),
        Index(
            "ix_outbox_waiting",
            "channel",
            "region_id",
            "stage",
            "event_id",
            postgresql_where=text("done_at IS NULL"),
        ),
        Index("ix_outbox_done", "done_at", postgresql_where=text("done_at IS NOT NULL")),
        Index(
            "ix_outbox_held",
            "order_id",
            "event_id",
            postgresql_where=text("done_at IS NULL AND stage <> 'NEW'"),
        ),
    )


class Region(Base):
    """The fence: an append of another epoch than this one is refused."""

    __tablename__ = "regions"
    region_id: Mapped[str] = mapped_column(primary_key=True)
    epoch: Mapped[int]
    __table_args__ = (CheckConstraint("epoch > 0", name="epoch"),)


class RegionTotals(Base):
    """How many tasks ("KIND STATUS") and offers (status) of a region were over before a time. Counted ahead, because
    a region that starts wants the numbers at once, and because the offer log does not keep for ever."""

    __tablename__ = "region_totals"
    region_id: Mapped[str] = mapped_column(primary_key=True)
    before_ms: Mapped[int]
    tasks: Mapped[dict[str, int]] = mapped_column(JSONB)
    offers: Mapped[dict[str, int]] = mapped_column(JSONB)


class Lease(Base):
    """Which persistence actor does a work that only one should do; `until` is wall time."""

    __tablename__ = "leases"
    name: Mapped[str] = mapped_column(primary_key=True)
    holder: Mapped[str]
    until: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class OrderEdge(Base):
    """`domain.lifecycle.ORDER_EDGES`, which the triggers look up."""

    __tablename__ = "order_edges"
    from_status: Mapped[str] = mapped_column(primary_key=True)
    to_status: Mapped[str] = mapped_column(primary_key=True)


class OrderStep(Base):
    """`domain.lifecycle.ORDER` by role, and an order's first event, which comes from no state ('')."""

    __tablename__ = "order_steps"
    from_status: Mapped[str] = mapped_column(primary_key=True)
    event: Mapped[str] = mapped_column(primary_key=True)
    role: Mapped[str] = mapped_column(primary_key=True)
    to_status: Mapped[str]


class TaskEdge(Base):
    """`domain.lifecycle.TASK_EDGES`."""

    __tablename__ = "task_edges"
    from_status: Mapped[str] = mapped_column(primary_key=True)
    to_status: Mapped[str] = mapped_column(primary_key=True)


class OfferEdge(Base):
    """`domain.lifecycle.OFFER_EDGES`."""

    __tablename__ = "offer_edges"
    from_status: Mapped[str] = mapped_column(primary_key=True)
    to_status: Mapped[str] = mapped_column(primary_key=True)


class TaskStart(Base):
    """`domain.lifecycle.TASK_START`."""

    __tablename__ = "task_starts"
    kind: Mapped[str] = mapped_column(primary_key=True)
    status: Mapped[str]
