"""Opening hours of a store, and until when a store takes a task's goods back."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"

# An entry is a `domain.orders.hours.Opening`. What has not its form at all is not known to be one, and so is none.
_HOURS = """
hours IS NULL OR jsonb_array_length(hours) <= 50 AND jsonb_array_length(hours) = jsonb_array_length(
    jsonb_path_query_array(hours, 'strict $[*] ? (
        @.weekday == @.weekday.floor() && @.weekday >= 0 && @.weekday <= 6
        && @.opens_min == @.opens_min.floor() && @.opens_min >= 0 && @.opens_min <= 1439
        && @.closes_min == @.closes_min.floor()
        && @.closes_min - @.opens_min >= 1 && @.closes_min - @.opens_min <= 1440)'))
"""

_FROZEN = """
CREATE TRIGGER tasks_frozen BEFORE UPDATE ON tasks FOR EACH ROW
    WHEN (({old}) IS DISTINCT FROM ({new})) EXECUTE FUNCTION tasks_frozen()
"""
_BEFORE = ("task_id", "order_id", "region_id", "kind")


def upgrade() -> None:
    op.add_column("stores", sa.Column("hours", postgresql.JSONB(astext_type=sa.Text()), nullable=True))
    op.add_column("stores", sa.Column("version", sa.Integer(), server_default="1", nullable=False))
    op.create_check_constraint(op.f("ck_stores_hours"), "stores", _HOURS)
    op.create_check_constraint(op.f("ck_stores_version"), "stores", "version > 0")
    op.add_column("tasks", sa.Column("closes_ms", sa.BigInteger(), nullable=True))
    _freeze((*_BEFORE, "closes_ms"))


def downgrade() -> None:
    _freeze(_BEFORE)
    op.drop_column("tasks", "closes_ms")
    op.drop_constraint(op.f("ck_stores_version"), "stores")
    op.drop_constraint(op.f("ck_stores_hours"), "stores")
    op.drop_column("stores", "version")
    op.drop_column("stores", "hours")


def _freeze(columns: tuple[str, ...]) -> None:
    """What a task may not change, by the trigger of 0003."""
    op.execute("DROP TRIGGER tasks_frozen ON tasks")
    names = {row: ", ".join(f"{row.upper()}.{column}" for column in columns) for row in ("old", "new")}
    op.execute(_FROZEN.format(**names))
