"""Refunds. What is promised back is counted on the payment's row by a trigger, whose checks bound it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"

_COUNTED = """
CREATE FUNCTION refunds_counted() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    sign integer := 1;
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.status <> 'PENDING' THEN
            PERFORM doorstep_refuse('refunds_start', 'a refund starts PENDING');
        END IF;
    ELSIF OLD.status = 'FAILED' OR NEW.status = 'PENDING' THEN
        PERFORM doorstep_refuse('refunds_edge', format('no edge from %s to %s', OLD.status, NEW.status));
    ELSIF NEW.status = 'FAILED' THEN
        sign := -1;
    ELSE
        RETURN NULL;
    END IF;
    UPDATE payments SET refunded_goods_cents = refunded_goods_cents + sign * NEW.goods_cents,
        refunded_fee_cents = refunded_fee_cents + sign * NEW.fee_cents,
        refunded_tax_cents = refunded_tax_cents + sign * NEW.tax_cents,
        refunded_tip_cents = refunded_tip_cents + sign * NEW.tip_cents, version = version + 1
    WHERE payment_id = NEW.payment_id;
    RETURN NULL;
END $$
"""
_TRIGGERS = (
    "CREATE TRIGGER refunds_counted_in AFTER INSERT ON refunds FOR EACH ROW EXECUTE FUNCTION refunds_counted()",
    "CREATE TRIGGER refunds_counted AFTER UPDATE ON refunds FOR EACH ROW"
    " WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION refunds_counted()",
)


def upgrade() -> None:
    op.create_table(
        "refunds",
        sa.Column("refund_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("payment_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("order_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("region_id", sa.Text(), nullable=False),
        sa.Column("customer_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("merchant_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("jurisdiction", sa.Text(), nullable=False),
        sa.Column("vendor_ref", sa.Text(), nullable=False),
        sa.Column("goods_cents", sa.BigInteger(), nullable=False),
        sa.Column("fee_cents", sa.BigInteger(), nullable=False),
        sa.Column("tax_cents", sa.BigInteger(), nullable=False),
        sa.Column("tip_cents", sa.BigInteger(), nullable=False),
        sa.Column("commission_cents", sa.BigInteger(), nullable=False),
        sa.Column("merchant_bears", sa.Boolean(), nullable=False),
        sa.Column("merchant_taxes", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("asked_by", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("ended_ms", sa.BigInteger(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.CheckConstraint("(status = 'PENDING') = (ended_ms IS NULL)", name=op.f("ck_refunds_ended")),
        sa.CheckConstraint(
            "reason IN ('ITEM_MISSING', 'ITEM_WRONG', 'ITEM_DAMAGED', 'QUALITY', 'LATE',"
            " 'DRIVER_CONDUCT', 'OVERCHARGED', 'FRAUD', 'GOODWILL', 'OTHER')",
            name=op.f("ck_refunds_reason"),
        ),
        sa.CheckConstraint("status IN ('PENDING', 'DONE', 'FAILED')", name=op.f("ck_refunds_status")),
        sa.CheckConstraint(
            "least(goods_cents, fee_cents, tax_cents, tip_cents, commission_cents) >= 0"
            " AND goods_cents + fee_cents + tax_cents + tip_cents > 0",
            name=op.f("ck_refunds_amounts"),
        ),
        sa.CheckConstraint("version > 0", name=op.f("ck_refunds_version")),
        sa.ForeignKeyConstraint(["order_id"], ["orders.order_id"], name=op.f("fk_refunds_order_id")),
        sa.ForeignKeyConstraint(["payment_id"], ["payments.payment_id"], name=op.f("fk_refunds_payment_id")),
        sa.PrimaryKeyConstraint("refund_id", name=op.f("pk_refunds")),
    )
    op.create_index("ix_refunds_order", "refunds", ["order_id", "created_ms", "refund_id"], unique=False)
    op.create_index(op.f("ix_refunds_payment_id"), "refunds", ["payment_id"], unique=False)

    for statement in (_COUNTED, *_TRIGGERS):
        op.execute(statement)


def downgrade() -> None:
    op.drop_index(op.f("ix_refunds_payment_id"), table_name="refunds")
    op.drop_index("ix_refunds_order", table_name="refunds")
    op.drop_table("refunds")
    op.execute("DROP FUNCTION refunds_counted()")
