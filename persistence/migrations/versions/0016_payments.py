"""An order knows each authorization that a vendor may have been asked for, and since when one is open."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0016"
down_revision = "0015"

_IS_OPEN = sa.text("payment_open_ms IS NOT NULL")


def upgrade() -> None:
    op.add_column("orders", sa.Column("payment_open_ms", sa.BigInteger()))
    attempts = postgresql.JSONB(astext_type=sa.Text())
    op.add_column("orders", sa.Column("payments", attempts, server_default=sa.text("'[]'"), nullable=False))
    op.create_index("ix_orders_payment_open", "orders", ["payment_open_ms"], postgresql_where=_IS_OPEN)


def downgrade() -> None:
    op.drop_index("ix_orders_payment_open", table_name="orders")
    op.drop_column("orders", "payments")
    op.drop_column("orders", "payment_open_ms")
