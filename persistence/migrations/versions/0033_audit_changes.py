"""The log of what operators did has the fields that changed, texts as commitments under salts that can be erased."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0033"
down_revision = "0032"


def upgrade() -> None:
    op.create_table(
        "audit_salts",
        sa.Column("aggregate_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("salt", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("octet_length(salt) = 32", name=op.f("ck_audit_salts_salt")),
        sa.PrimaryKeyConstraint("aggregate_id", name=op.f("pk_audit_salts")),
    )
    op.add_column(
        "audit_entries",
        sa.Column("changes", JSONB(), server_default=sa.text("'{}'"), nullable=False),
    )
    op.create_index("ix_audit_entries_action", "audit_entries", ["action", "at_ms", "entry_id"], unique=False)
    op.create_index(
        "ix_audit_entries_actor", "audit_entries", ["actor_id", "at_ms", "entry_id"], unique=False
    )
    op.create_index("ix_audit_entries_at", "audit_entries", ["at_ms", "entry_id"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_audit_entries_at", table_name="audit_entries")
    op.drop_index("ix_audit_entries_actor", table_name="audit_entries")
    op.drop_index("ix_audit_entries_action", table_name="audit_entries")
    op.drop_column("audit_entries", "changes")
    op.drop_table("audit_salts")
