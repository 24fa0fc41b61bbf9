"""The tables, with their keys, checks and indexes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None

# As they were at this revision; a status that comes later comes with a migration of its own.
_CHANNELS = "bus tasks payments"
_OFFER_STATUSES = "OFFERED ACCEPTED REJECTED EXPIRED REVOKED"
_ORDER_EVENTS = (
    "ORDER_CREATED AGE_CHECK_PASSED AGE_CHECK_FAILED PAYMENT_AUTHORIZED PAYMENT_DECLINED "
    "MERCHANT_ACCEPTED MERCHANT_REJECTED GOODS_READY TASK_ASSIGNED TASK_RELEASED ARRIVED_AT_STORE "
    "PICKED_UP ARRIVED_AT_DOOR ID_CHECK_PASSED ID_CHECK_FAILED REFUSED RETURN_INITIATED "
    "ARRIVED_FOR_RETURN RETURN_CONFIRMED DELIVERED CANCELLED ORDER_CLOSED"
)
_ORDER_STATUSES = (
    "DRAFT AGE_VERIFIED PAYMENT_AUTHORIZED CONFIRMED ASSIGNED PICKED_UP AT_DOOR ID_VERIFIED DELIVERED "
    "CLOSED CANCELLED REJECTED REFUSED RETURNING RETURNED"
)
_ROLES = "customer merchant driver dispatcher admin system"
_TASK_KINDS = "DELIVERY RETURN"
_TASK_STATUSES = "OPEN OFFERED ASSIGNED AT_PICKUP PICKED_UP AT_DROPOFF DONE FAILED CANCELLED"


def _one_of(column: str, values: str, name: str) -> sa.CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values.split())
    return sa.CheckConstraint(f"{column} IN ({listed})", name=op.f(name))


def upgrade() -> None:
    op.create_table(
        "idempotency",
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.Column("region_id", sa.Text(), nullable=True),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("scope", "key", name=op.f("pk_idempotency")),
    )
    op.create_index("ix_idempotency_at", "idempotency", ["at_ms"], unique=False)
    op.create_index(
        "ix_idempotency_region",
        "idempotency",
        ["region_id", "at_ms"],
        unique=False,
        postgresql_where=sa.text("region_id IS NOT NULL"),
    )
    op.create_table(
        "offer_edges",
        sa.Column("from_status", sa.Text(), nullable=False),
        sa.Column("to_status", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("from_status", "to_status", name=op.f("pk_offer_edges")),
    )
    op.create_table(
        "offers",
        sa.Column("offer_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("region_id", sa.Text(), nullable=False),
        sa.Column("driver_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("task_ids", postgresql.ARRAY(sa.Uuid(as_uuid=False)), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("made_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.Column("features", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("seen_ms", sa.BigInteger(), nullable=True),
        sa.Column("closed_ms", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.CheckConstraint("(status = 'OFFERED') = (closed_ms IS NULL)", name=op.f("ck_offers_closed")),
        _one_of("status", _OFFER_STATUSES, "ck_offers_status"),
        sa.CheckConstraint("cardinality(task_ids) > 0", name=op.f("ck_offers_task_ids")),
        sa.PrimaryKeyConstraint("offer_id", name=op.f("pk_offers")),
    )
    op.create_index(
        "ix_offers_closed",
        "offers",
        ["region_id", "closed_ms"],
        unique=False,
        postgresql_where=sa.text("closed_ms IS NOT NULL"),
    )
    op.create_index(
        "ix_offers_driver_live",
        "offers",
        ["driver_id"],
        unique=False,
        postgresql_where=sa.text("status = 'OFFERED'"),
    )
    op.create_index(
        "ix_offers_expires",
        "offers",
        ["expires_ms"],
        unique=False,
        postgresql_where=sa.text("status = 'OFFERED'"),
    )
    op.create_index("ix_offers_region_status", "offers", ["region_id", "status"], unique=False)
    op.create_table(
        "order_edges",
        sa.Column("from_status", sa.Text(), nullable=False),
        sa.Column("to_status", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("from_status", "to_status", name=op.f("pk_order_edges")),
    )
    op.create_table(
        "outbox",
        sa.Column("event_id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("region_id", sa.Text(), nullable=False),
        sa.Column("order_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        _one_of("channel", _CHANNELS, "ck_outbox_channel"),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_outbox")),
    )
    op.create_index(
        "ix_outbox_waiting",
        "outbox",
        ["channel", "event_id"],
        unique=False,
        postgresql_where=sa.text("done_at IS NULL"),
    )
    op.create_table(
        "regions",
        sa.Column("region_id", sa.Text(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("epoch > 0", name=op.f("ck_regions_epoch")),
        sa.PrimaryKeyConstraint("region_id", name=op.f("pk_regions")),
    )
    op.create_table(
        "task_edges",
        sa.Column("from_status", sa.Text(), nullable=False),
        sa.Column("to_status", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("from_status", "to_status", name=op.f("pk_task_edges")),
    )
    op.create_table(
        "task_starts",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("kind", name=op.f("pk_task_starts")),
    )
    op.create_table(
        "users",
        sa.Column("user_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        _one_of("role", _ROLES, "ck_users_role"),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_users")),
    )
    op.create_index("uq_users_email", "users", [sa.literal_column("lower(email)")], unique=True)
    op.create_table(
        "stores",
        sa.Column("store_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("merchant_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("region_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("lat", sa.Float(precision=53), nullable=False),
        sa.Column("lng", sa.Float(precision=53), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "lat BETWEEN -90 AND 90 AND lng BETWEEN -180 AND 180", name=op.f("ck_stores_on_earth")
        ),
        sa.ForeignKeyConstraint(["merchant_id"], ["users.user_id"], name=op.f("fk_stores_merchant_id")),
        sa.PrimaryKeyConstraint("store_id", name=op.f("pk_stores")),
    )
    op.create_index(op.f("ix_stores_merchant_id"), "stores", ["merchant_id"], unique=False)
    op.create_index(op.f("ix_stores_region_id"), "stores", ["region_id"], unique=False)
    op.create_table(
        "orders",
        sa.Column("order_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("region_id", sa.Text(), nullable=False),
        sa.Column("customer_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("merchant_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("store_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("min_age", sa.Integer(), nullable=False),
        sa.Column("total_cents", sa.BigInteger(), nullable=False),
        sa.Column("pickup_lat", sa.Float(precision=53), nullable=False),
        sa.Column("pickup_lng", sa.Float(precision=53), nullable=False),
        sa.Column("dropoff_lat", sa.Float(precision=53), nullable=False),
        sa.Column("dropoff_lng", sa.Float(precision=53), nullable=False),
        sa.Column("dropoff_address", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.Column("age_attempts", sa.Integer(), nullable=False),
        sa.Column("payment_ref", sa.Text(), nullable=True),
        sa.Column("ready_ms", sa.BigInteger(), nullable=True),
        sa.Column("due_ms", sa.BigInteger(), nullable=True),
        sa.Column("dossier_seq", sa.Integer(), nullable=False),
        sa.Column("dossier_hash", sa.LargeBinary(), nullable=False),
        _one_of("status", _ORDER_STATUSES, "ck_orders_status"),
        sa.CheckConstraint(
            "dropoff_lat BETWEEN -90 AND 90 AND dropoff_lng BETWEEN -180 AND 180",
            name=op.f("ck_orders_dropoff_earth"),
        ),
        sa.CheckConstraint(
            "min_age >= 0 AND total_cents >= 0 AND age_attempts >= 0", name=op.f("ck_orders_amounts")
        ),
        sa.CheckConstraint(
            "pickup_lat BETWEEN -90 AND 90 AND pickup_lng BETWEEN -180 AND 180",
            name=op.f("ck_orders_pickup_earth"),
        ),
        sa.CheckConstraint(
            "version > 0 AND dossier_seq > 0 AND octet_length(dossier_hash) = 32", name=op.f("ck_orders_head")
        ),
        sa.ForeignKeyConstraint(["store_id"], ["stores.store_id"], name=op.f("fk_orders_store_id")),
        sa.PrimaryKeyConstraint("order_id", name=op.f("pk_orders")),
        postgresql_with={"fillfactor": "50"},
    )
    op.create_index("ix_orders_created", "orders", ["created_ms", "order_id"], unique=False)
    op.create_index("ix_orders_customer", "orders", ["customer_id", "created_ms", "order_id"], unique=False)
    op.create_index("ix_orders_merchant", "orders", ["merchant_id", "created_ms", "order_id"], unique=False)
    op.create_index("ix_orders_region", "orders", ["region_id"], unique=False)
    op.create_table(
        "products",
        sa.Column("product_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("store_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("category", sa.Text(), nullable=False),
        sa.Column("price_cents", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("price_cents >= 0", name=op.f("ck_products_price")),
        sa.ForeignKeyConstraint(["store_id"], ["stores.store_id"], name=op.f("fk_products_store_id")),
        sa.PrimaryKeyConstraint("product_id", name=op.f("pk_products")),
    )
    op.create_index(op.f("ix_products_store_id"), "products", ["store_id"], unique=False)
    op.create_table(
        "dossier_events",
        sa.Column("order_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("payload", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("prev_hash", sa.LargeBinary(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        _one_of("status", _ORDER_STATUSES, "ck_dossier_events_status"),
        _one_of("type", _ORDER_EVENTS, "ck_dossier_events_type"),
        sa.CheckConstraint(
            "seq > 0 AND octet_length(prev_hash) = 32 AND octet_length(hash) = 32",
            name=op.f("ck_dossier_events_link"),
        ),
        sa.ForeignKeyConstraint(["order_id"], ["orders.order_id"], name=op.f("fk_dossier_events_order_id")),
        sa.PrimaryKeyConstraint("order_id", "seq", name=op.f("pk_dossier_events")),
    )
    op.create_table(
        "order_items",
        sa.Column("order_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("product_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.CheckConstraint("quantity BETWEEN 1 AND 1000", name=op.f("ck_order_items_quantity")),
        sa.ForeignKeyConstraint(["order_id"], ["orders.order_id"], name=op.f("fk_order_items_order_id")),
        sa.ForeignKeyConstraint(
            ["product_id"], ["products.product_id"], name=op.f("fk_order_items_product_id")
        ),
        sa.PrimaryKeyConstraint("order_id", "line", name=op.f("pk_order_items")),
    )
    op.create_table(
        "tasks",
        sa.Column("task_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("order_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("region_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("store_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("pickup_lat", sa.Float(precision=53), nullable=False),
        sa.Column("pickup_lng", sa.Float(precision=53), nullable=False),
        sa.Column("dropoff_lat", sa.Float(precision=53), nullable=False),
        sa.Column("dropoff_lng", sa.Float(precision=53), nullable=False),
        sa.Column("dropoff_address", sa.Text(), nullable=False),
        sa.Column("min_age", sa.Integer(), nullable=False),
        sa.Column("opened_ms", sa.BigInteger(), nullable=False),
        sa.Column("ready_ms", sa.BigInteger(), nullable=False),
        sa.Column("due_ms", sa.BigInteger(), nullable=False),
        sa.Column("driver_id", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("offer_id", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("ended_ms", sa.BigInteger(), nullable=True),
        _one_of("kind", _TASK_KINDS, "ck_tasks_kind"),
        sa.CheckConstraint("status <> 'OPEN' OR driver_id IS NULL", name=op.f("ck_tasks_open_is_free")),
        _one_of("status", _TASK_STATUSES, "ck_tasks_status"),
        sa.CheckConstraint(
            "status IN ('OPEN', 'OFFERED', 'CANCELLED') OR driver_id IS NOT NULL",
            name=op.f("ck_tasks_held_has_driver"),
        ),
        sa.CheckConstraint(
            "dropoff_lat BETWEEN -90 AND 90 AND dropoff_lng BETWEEN -180 AND 180",
            name=op.f("ck_tasks_dropoff_earth"),
        ),
        sa.CheckConstraint("min_age >= 0", name=op.f("ck_tasks_min_age")),
        sa.CheckConstraint(
            "pickup_lat BETWEEN -90 AND 90 AND pickup_lng BETWEEN -180 AND 180",
            name=op.f("ck_tasks_pickup_earth"),
        ),
        sa.ForeignKeyConstraint(["order_id"], ["orders.order_id"], name=op.f("fk_tasks_order_id")),
        sa.PrimaryKeyConstraint("task_id", name=op.f("pk_tasks")),
    )
    op.create_index(
        "ix_tasks_driver",
        "tasks",
        ["driver_id"],
        unique=False,
        postgresql_where=sa.text("driver_id IS NOT NULL"),
    )
    op.create_index(
        "ix_tasks_driver_live",
        "tasks",
        ["driver_id"],
        unique=False,
        postgresql_where=sa.text("driver_id IS NOT NULL AND status NOT IN ('CANCELLED', 'DONE', 'FAILED')"),
    )
    op.create_index(
        "ix_tasks_ended",
        "tasks",
        ["region_id", "ended_ms"],
        unique=False,
        postgresql_where=sa.text("ended_ms IS NOT NULL"),
    )
    op.create_index(
        "ix_tasks_live",
        "tasks",
        ["region_id"],
        unique=False,
        postgresql_where=sa.text("status NOT IN ('CANCELLED', 'DONE', 'FAILED')"),
    )
    op.create_index(op.f("ix_tasks_order_id"), "tasks", ["order_id"], unique=False)
    op.create_index(
        "uq_tasks_delivery",
        "tasks",
        ["order_id"],
        unique=True,
        postgresql_where=sa.text("kind = 'DELIVERY' AND status NOT IN ('CANCELLED', 'DONE', 'FAILED')"),
    )
    op.create_table(
        "doorstep_checks",
        sa.Column("check_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("order_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("task_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("driver_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("passed", sa.Boolean(), nullable=False),
        sa.Column("over_age", sa.Boolean(), nullable=False),
        sa.Column("not_expired", sa.Boolean(), nullable=False),
        sa.Column("name_matches", sa.Boolean(), nullable=False),
        sa.Column("sober", sa.Boolean(), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("vendor_ref", sa.Text(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "NOT passed OR (over_age AND not_expired AND name_matches AND sober)",
            name=op.f("ck_doorstep_checks_passed"),
        ),
        sa.ForeignKeyConstraint(["order_id"], ["orders.order_id"], name=op.f("fk_doorstep_checks_order_id")),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.task_id"], name=op.f("fk_doorstep_checks_task_id")),
        sa.PrimaryKeyConstraint("check_id", name=op.f("pk_doorstep_checks")),
    )
    op.create_index(op.f("ix_doorstep_checks_order_id"), "doorstep_checks", ["order_id"], unique=False)


def downgrade() -> None:
    for table in (
        "doorstep_checks",
        "tasks",
        "order_items",
        "dossier_events",
        "products",
        "orders",
        "stores",
        "users",
        "task_starts",
        "task_edges",
        "regions",
        "outbox",
        "order_edges",
        "offers",
        "offer_edges",
        "idempotency",
    ):
        op.drop_table(table)
