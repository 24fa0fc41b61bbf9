"""The sweep finds what was handed on long ago by an index, not by reading all that is left."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    done = sa.text("done_at IS NOT NULL")
    op.create_index("ix_outbox_done", "outbox", ["done_at"], postgresql_where=done)


def downgrade() -> None:
    op.drop_index("ix_outbox_done", table_name="outbox")
