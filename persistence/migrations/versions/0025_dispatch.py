"""Operators give tasks to drivers, take them away, and settle what became of goods on the road; lists of both.

The log of what operators did gets their steps in the append that makes them.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"

_EVENTS = ("RETURN_RESOLVED", "WRITTEN_OFF")
_STEPS = (
    ("CONFIRMED", "TASK_ASSIGNED", "ASSIGNED"),
    ("ASSIGNED", "TASK_RELEASED", "CONFIRMED"),
    *(
        (at, event, to)
        for at in ("PICKED_UP", "AT_DOOR", "ID_VERIFIED", "RETURNING")
        for event, to in (("RETURN_RESOLVED", "RETURNED"), ("WRITTEN_OFF", "WRITTEN_OFF"))
    ),
)
_ROLES = ("dispatcher", "admin")


def upgrade() -> None:
    _list("orders", "status", add=("WRITTEN_OFF",))
    _list("dossier_events", "status", add=("WRITTEN_OFF",))
    _list("dossier_events", "type", add=_EVENTS)
    for before, event, after in _STEPS:
        for role in _ROLES:
            op.execute(
                "INSERT INTO order_steps (from_status, event, role, to_status)"
                f" VALUES ('{before}', '{event}', '{role}', '{after}') ON CONFLICT DO NOTHING"
            )
        op.execute(
            "INSERT INTO order_edges (from_status, to_status)"
            f" VALUES ('{before}', '{after}') ON CONFLICT DO NOTHING"
        )
    op.execute(
        "INSERT INTO task_edges (from_status, to_status) VALUES ('PICKED_UP', 'FAILED') ON CONFLICT DO NOTHING"
    )
    op.create_index("ix_tasks_opened", "tasks", ["opened_ms", "task_id"])
    op.create_index(
        "ix_offers_taken",
        "offers",
        ["driver_id", "made_ms", "offer_id"],
        postgresql_where=sa.text("status = 'ACCEPTED'"),
    )


def downgrade() -> None:
    op.drop_index("ix_offers_taken", table_name="offers")
    op.drop_index("ix_tasks_opened", table_name="tasks")
    op.execute("DELETE FROM task_edges WHERE (from_status, to_status) = ('PICKED_UP', 'FAILED')")
    op.execute(
        "DELETE FROM order_steps WHERE event IN ('RETURN_RESOLVED', 'WRITTEN_OFF') OR event IN"
        " ('TASK_ASSIGNED', 'TASK_RELEASED') AND role IN ('dispatcher', 'admin')"
    )
    op.execute("DELETE FROM order_edges WHERE to_status = 'WRITTEN_OFF'")
    op.execute("DELETE FROM order_edges WHERE to_status = 'RETURNED' AND from_status <> 'RETURNING'")
    _list("dossier_events", "type", drop=_EVENTS)
    _list("dossier_events", "status", drop=("WRITTEN_OFF",))
    _list("orders", "status", drop=("WRITTEN_OFF",))


def _list(table: str, column: str, *, add: tuple[str, ...] = (), drop: tuple[str, ...] = ()) -> None:
    """Make the list of what a column may be longer or shorter, whatever else others have put there."""
    name = f"ck_{table}_{column}"
    query = f"SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = '{name}'"
    found = str(op.get_bind().execute(sa.text(query)).scalar_one())
    values = [one for one in found.split("'")[1::2] if one not in (*add, *drop)] + list(add)
    listed = ", ".join(f"'{value}'" for value in values)
    op.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
    op.execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} CHECK ({column} IN ({listed}))")
