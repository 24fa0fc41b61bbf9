"""Payments that were taken, and what drivers have earned.

Of what was taken before, goods are all that is known: none of it was commission, fee or tax.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"

_BEFORE = """
INSERT INTO payments (payment_id, order_id, region_id, customer_id, merchant_id, driver_id, jurisdiction, vendor_ref,
    goods_cents, fee_cents, tax_cents, tip_cents, commission_bp, merchant_taxes, created_ms, refunded_goods_cents,
    refunded_fee_cents, refunded_tax_cents, refunded_tip_cents, version)
SELECT o.order_id, o.order_id, o.region_id, o.customer_id, o.merchant_id, '', '', o.payment_ref, o.total_cents, 0, 0, 0,
    0, false, o.updated_ms, 0, 0, 0, 0, 1
FROM ledger_movements m JOIN orders o USING (order_id) WHERE m.reason = 'ORDER_CAPTURED'
"""
_APPEND_ONLY = (
    "CREATE TRIGGER earnings_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON earnings"
    " FOR EACH STATEMENT EXECUTE FUNCTION evidence_append_only()"
)


def upgrade() -> None:
    op.create_table(
        "payments",
        sa.Column("payment_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("order_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("region_id", sa.Text(), nullable=False),
        sa.Column("customer_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("merchant_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("driver_id", sa.Text(), nullable=False),
        sa.Column("jurisdiction", sa.Text(), nullable=False),
        sa.Column("vendor_ref", sa.Text(), nullable=False),
        sa.Column("goods_cents", sa.BigInteger(), nullable=False),
        sa.Column("fee_cents", sa.BigInteger(), nullable=False),
        sa.Column("tax_cents", sa.BigInteger(), nullable=False),
        sa.Column("tip_cents", sa.BigInteger(), nullable=False),
        sa.Column("commission_bp", sa.Integer(), nullable=False),
        sa.Column("merchant_taxes", sa.Boolean(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("refunded_goods_cents", sa.BigInteger(), nullable=False),
        sa.Column("refunded_fee_cents", sa.BigInteger(), nullable=False),
        sa.Column("refunded_tax_cents", sa.BigInteger(), nullable=False),
        sa.Column("refunded_tip_cents", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.CheckConstraint("commission_bp BETWEEN 0 AND 10000", name=op.f("ck_payments_commission")),
        sa.CheckConstraint(
            "refunded_fee_cents BETWEEN 0 AND fee_cents", name=op.f("ck_payments_refunded_fee")
        ),
        sa.CheckConstraint(
            "refunded_goods_cents BETWEEN 0 AND goods_cents", name=op.f("ck_payments_refunded_goods")
        ),
        sa.CheckConstraint(
            "refunded_tax_cents BETWEEN 0 AND tax_cents", name=op.f("ck_payments_refunded_tax")
        ),
        sa.CheckConstraint(
            "refunded_tip_cents BETWEEN 0 AND tip_cents", name=op.f("ck_payments_refunded_tip")
        ),
        sa.CheckConstraint("version > 0", name=op.f("ck_payments_version")),
        sa.ForeignKeyConstraint(["order_id"], ["orders.order_id"], name=op.f("fk_payments_order_id")),
        sa.PrimaryKeyConstraint("payment_id", name=op.f("pk_payments")),
    )
    op.create_index(op.f("ix_payments_order_id"), "payments", ["order_id"], unique=False)
    op.create_table(
        "earnings",
        sa.Column("task_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("order_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("driver_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("is_return", sa.Boolean(), nullable=False),
        sa.Column("order_cents", sa.BigInteger(), nullable=False),
        sa.Column("distance_cents", sa.BigInteger(), nullable=False),
        sa.Column("wait_cents", sa.BigInteger(), nullable=False),
        sa.Column("bump_cents", sa.BigInteger(), nullable=False),
        sa.Column("begun_ms", sa.BigInteger(), nullable=False),
        sa.Column("ended_ms", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("begun_ms <= ended_ms", name=op.f("ck_earnings_times")),
        sa.CheckConstraint(
            "least(order_cents, distance_cents, wait_cents, bump_cents) >= 0",
            name=op.f("ck_earnings_amounts"),
        ),
        sa.ForeignKeyConstraint(["order_id"], ["orders.order_id"], name=op.f("fk_earnings_order_id")),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.task_id"], name=op.f("fk_earnings_task_id")),
        sa.PrimaryKeyConstraint("task_id", name=op.f("pk_earnings")),
    )
    op.create_index("ix_earnings_driver", "earnings", ["driver_id", "ended_ms", "task_id"], unique=False)
    op.create_index("ix_earnings_order", "earnings", ["order_id"], unique=False)
    op.execute(_BEFORE)
    op.execute(_APPEND_ONLY)


def downgrade() -> None:
    op.drop_index("ix_earnings_order", table_name="earnings")
    op.drop_index("ix_earnings_driver", table_name="earnings")
    op.drop_table("earnings")
    op.drop_index(op.f("ix_payments_order_id"), table_name="payments")
    op.drop_table("payments")
