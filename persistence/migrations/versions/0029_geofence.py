"""When a driver arrived at the present stop of a task, so that how long they stay is on record."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"


def upgrade() -> None:
    op.add_column("tasks", sa.Column("arrived_ms", sa.BigInteger()))


def downgrade() -> None:
    op.drop_column("tasks", "arrived_ms")
