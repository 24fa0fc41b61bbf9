"""A log of what operators did to the records of the marketplace. Nobody but the owner can change it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    op.create_table(
        "audit_entries",
        sa.Column("entry_id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("actor_id", sa.Text(), nullable=False),
        sa.Column("actor_role", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("aggregate_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.PrimaryKeyConstraint("entry_id", name=op.f("pk_audit_entries")),
    )
    op.create_index("ix_audit_entries_aggregate", "audit_entries", ["aggregate_id", "entry_id"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_audit_entries_aggregate", table_name="audit_entries")
    op.drop_table("audit_entries")
