"""Stores have holidays, a usual time to pack, a zone that they deliver to, pauses, and an end."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0030"
down_revision = "0029"

_COLUMNS = (
    sa.Column(
        "holidays", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'"), nullable=False
    ),
    sa.Column("prep_min", sa.Integer(), nullable=True),
    sa.Column("zone", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
    sa.Column("paused_until_ms", sa.BigInteger(), nullable=True),
    sa.Column("closed_ms", sa.BigInteger(), nullable=True),
)
_CHECKS = {
    "holidays": "jsonb_typeof(holidays) = 'array' AND jsonb_array_length(holidays) <= 100",
    "prep": "prep_min BETWEEN 0 AND 1440",
    "zone": "jsonb_typeof(zone) = 'object'",
}


def upgrade() -> None:
    for column in _COLUMNS:
        op.add_column("stores", column)
    for name, condition in _CHECKS.items():
        op.create_check_constraint(op.f(f"ck_stores_{name}"), "stores", condition)


def downgrade() -> None:
    for name in _CHECKS:
        op.drop_constraint(op.f(f"ck_stores_{name}"), "stores")
    for column in _COLUMNS:
        op.drop_column("stores", column.name)
