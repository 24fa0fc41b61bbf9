"""Drivers apply and are reviewed. Accounts of drivers of before are approved, in the market they last drove in."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0032"
down_revision = "0031"


def upgrade() -> None:
    op.create_table(
        "drivers",
        sa.Column("driver_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("region_id", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column(
            "documents",
            JSONB(),
            server_default=sa.text("'[]'"),
            nullable=False,
        ),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("reviewed_ms", sa.BigInteger(), nullable=True),
        sa.Column("papers_until_ms", sa.BigInteger(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "reason IN ('DOCUMENTS_MISSING', 'DOCUMENTS_EXPIRED', 'DOCUMENT_NOT_VALID', 'NOT_OF_AGE',"
            " 'BACKGROUND_CHECK', 'SOLD_TO_A_MINOR', 'COMPLAINTS', 'SUSPECTED_FRAUD', 'AT_OWN_REQUEST', 'OTHER')",
            name=op.f("ck_drivers_reason"),
        ),
        sa.CheckConstraint(
            "status <> 'APPROVED' OR reviewed_ms IS NOT NULL", name=op.f("ck_drivers_reviewed")
        ),
        sa.CheckConstraint(
            "status IN ('APPLIED', 'INCOMPLETE', 'APPROVED', 'REJECTED', 'SUSPENDED')",
            name=op.f("ck_drivers_status"),
        ),
        sa.CheckConstraint("jsonb_array_length(documents) <= 40", name=op.f("ck_drivers_documents")),
        sa.CheckConstraint("version > 0", name=op.f("ck_drivers_version")),
        sa.ForeignKeyConstraint(["driver_id"], ["users.user_id"], name=op.f("fk_drivers_driver_id")),
        sa.PrimaryKeyConstraint("driver_id", name=op.f("pk_drivers")),
    )
    op.create_index("ix_drivers_created", "drivers", ["created_ms", "driver_id"], unique=False)
    op.create_index("ix_drivers_status", "drivers", ["status", "created_ms", "driver_id"], unique=False)
    op.execute(
        "INSERT INTO drivers (driver_id, region_id, created_ms, status, reviewed_ms, version)"
        " SELECT user_id, coalesce("
        "(SELECT region_id FROM tasks WHERE driver_id = user_id ORDER BY opened_ms DESC LIMIT 1),"
        " (SELECT min(region_id) FROM regions), 'tx-dfw'), created_ms, 'APPROVED', created_ms, 1"
        " FROM users WHERE role = 'driver'"
    )


def downgrade() -> None:
    op.drop_index("ix_drivers_status", table_name="drivers")
    op.drop_index("ix_drivers_created", table_name="drivers")
    op.drop_table("drivers")
