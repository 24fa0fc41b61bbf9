"""Vehicles of drivers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    op.create_table(
        "vehicles",
        sa.Column("vehicle_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("driver_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("plate", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("capacity_l", sa.Integer(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("retired_ms", sa.BigInteger(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.CheckConstraint("kind IN ('bicycle', 'scooter', 'car', 'van')", name=op.f("ck_vehicles_kind")),
        sa.CheckConstraint("capacity_l BETWEEN 1 AND 20000", name=op.f("ck_vehicles_capacity")),
        sa.CheckConstraint("length(plate) BETWEEN 1 AND 16", name=op.f("ck_vehicles_plate")),
        sa.CheckConstraint("version > 0", name=op.f("ck_vehicles_version")),
        sa.ForeignKeyConstraint(["driver_id"], ["users.user_id"], name=op.f("fk_vehicles_driver_id")),
        sa.PrimaryKeyConstraint("vehicle_id", name=op.f("pk_vehicles")),
    )
    op.create_index("ix_vehicles_driver", "vehicles", ["driver_id", "created_ms", "vehicle_id"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_vehicles_driver", table_name="vehicles")
    op.drop_table("vehicles")
