"""Payouts to merchants and drivers, append-only."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0030"

_APPEND_ONLY = (
    "CREATE TRIGGER payouts_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON payouts"
    " FOR EACH STATEMENT EXECUTE FUNCTION evidence_append_only()"
)


def upgrade() -> None:
    op.create_table(
        "payouts",
        sa.Column("payout_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("party", sa.Text(), nullable=False),
        sa.Column("party_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("from_ms", sa.BigInteger(), nullable=False),
        sa.Column("to_ms", sa.BigInteger(), nullable=False),
        sa.Column("work_cents", sa.BigInteger(), nullable=False),
        sa.Column("guarantee_cents", sa.BigInteger(), nullable=False),
        sa.Column("tips_cents", sa.BigInteger(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("party IN ('merchant', 'driver')", name=op.f("ck_payouts_party")),
        sa.CheckConstraint("from_ms < to_ms AND to_ms <= created_ms", name=op.f("ck_payouts_period")),
        sa.CheckConstraint(
            "work_cents + tips_cents > 0 AND guarantee_cents >= 0", name=op.f("ck_payouts_amounts")
        ),
        sa.PrimaryKeyConstraint("payout_id", name=op.f("pk_payouts")),
    )
    op.create_index("ix_payouts_party", "payouts", ["party_id", "created_ms", "payout_id"], unique=False)
    op.create_index("uq_payouts_period", "payouts", ["party", "party_id", "from_ms", "to_ms"], unique=True)
    op.execute(_APPEND_ONLY)


def downgrade() -> None:
    op.drop_index("uq_payouts_period", table_name="payouts")
    op.drop_index("ix_payouts_party", table_name="payouts")
    op.drop_table("payouts")
