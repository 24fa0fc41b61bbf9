"""The outbox remembers what was not taken: how often, why, and when it is tried again, up to the dead letter."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0006"

_WAITING = sa.text("done_at IS NULL")


def upgrade() -> None:
    op.add_column("outbox", sa.Column("stage", sa.Text(), server_default="NEW", nullable=False))
    op.add_column("outbox", sa.Column("attempts", sa.Integer(), server_default="0", nullable=False))
    op.add_column("outbox", sa.Column("next_try_at", sa.DateTime(timezone=True)))
    op.add_column("outbox", sa.Column("reason", sa.Text()))
    op.create_check_constraint(op.f("ck_outbox_stage"), "outbox", "stage IN ('NEW', 'AGAIN', 'DEAD')")
    op.drop_index("ix_outbox_waiting", table_name="outbox")
    columns = ["channel", "region_id", "stage", "event_id"]
    op.create_index("ix_outbox_waiting", "outbox", columns, postgresql_where=_WAITING)
    held = sa.text("done_at IS NULL AND stage <> 'NEW'")
    op.create_index("ix_outbox_held", "outbox", ["order_id", "event_id"], postgresql_where=held)


def downgrade() -> None:
    op.drop_index("ix_outbox_held", table_name="outbox")
    op.drop_index("ix_outbox_waiting", table_name="outbox")
    op.create_index("ix_outbox_waiting", "outbox", ["channel", "event_id"], postgresql_where=_WAITING)
    op.drop_constraint(op.f("ck_outbox_stage"), "outbox")
    for name in ("reason", "next_try_at", "attempts", "stage"):
        op.drop_column("outbox", name)
