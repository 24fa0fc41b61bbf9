"""Locks on what is said of an order, not only on what becomes of it: who did what in which state.

Until here the dossier took any event by any role, as long as it linked and the order's status went along an edge. Now
it takes the lifecycle's steps; an ID is checked at the door alone; a task stays what it is.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from domain.orders.lifecycle import ORDER, OrderEvent, OrderStatus, Role

revision = "0003"
down_revision = "0002"

# The state before an event is that of the event before, '' at the beginning. ENABLE ALWAYS, like the chain's trigger.
_DOSSIER = (
    """
    CREATE FUNCTION dossier_events_step() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF EXISTS (
            SELECT 1 FROM fresh f
            LEFT JOIN dossier_events p ON p.order_id = f.order_id AND p.seq = f.seq - 1
            LEFT JOIN order_steps s ON s.from_status = coalesce(p.status, '') AND s.event = f.type
                AND s.role = split_part(f.actor, ':', 1) AND s.to_status = f.status
            WHERE s.event IS NULL
        ) THEN
            PERFORM doorstep_refuse('dossier_events_step', 'no such step of this role from the state before');
        END IF;
        RETURN NULL;
    END $$
    """,
    """
    CREATE TRIGGER dossier_events_step AFTER INSERT ON dossier_events REFERENCING NEW TABLE AS fresh
        FOR EACH STATEMENT EXECUTE FUNCTION dossier_events_step()
    """,
    "ALTER TABLE dossier_events ENABLE ALWAYS TRIGGER dossier_events_step",
)

# After the insert, so that a check without its order or task is reported by the key that it lacks.
_CHECKS = (
    """
    CREATE FUNCTION doorstep_checks_at_door() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NOT EXISTS (SELECT 1 FROM orders WHERE order_id = NEW.order_id AND status = 'AT_DOOR') THEN
            PERFORM doorstep_refuse('doorstep_checks_at_door', 'an ID is checked while the order is at its door');
        END IF;
        RETURN NULL;
    END $$
    """,
    """
    CREATE TRIGGER doorstep_checks_at_door AFTER INSERT ON doorstep_checks
        FOR EACH ROW EXECUTE FUNCTION doorstep_checks_at_door()
    """,
)

# Else a return could become the delivery that the door's gate asks for.
_TASKS = (
    """
    CREATE FUNCTION tasks_frozen() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM doorstep_refuse('tasks_frozen', 'a task stays of its order, its region and its kind');
        RETURN NULL;
    END $$
    """,
    """
    CREATE TRIGGER tasks_frozen BEFORE UPDATE ON tasks FOR EACH ROW
        WHEN ((OLD.task_id, OLD.order_id, OLD.region_id, OLD.kind)
              IS DISTINCT FROM (NEW.task_id, NEW.order_id, NEW.region_id, NEW.kind))
        EXECUTE FUNCTION tasks_frozen()
    """,
)


def upgrade() -> None:
    columns = ("from_status", "event", "role", "to_status")
    steps = op.create_table(
        "order_steps",
        *(sa.Column(name, sa.Text(), nullable=False) for name in columns),
        sa.PrimaryKeyConstraint("from_status", "event", "role", name=op.f("pk_order_steps")),
    )
    assert steps is not None
    rows = [("", OrderEvent.CREATED, Role.CUSTOMER, OrderStatus.DRAFT)]
    rows += [(at, event, role, edge.to) for (at, event), edge in ORDER.items() for role in sorted(edge.roles)]
    op.bulk_insert(steps, [dict(zip(columns, map(str, row), strict=True)) for row in rows])
    for statement in (*_DOSSIER, *_CHECKS, *_TASKS):
        op.execute(statement)


def downgrade() -> None:
    for table, name in (
        ("dossier_events", "dossier_events_step"),
        ("doorstep_checks", "doorstep_checks_at_door"),
        ("tasks", "tasks_frozen"),
    ):
        op.execute(f"DROP TRIGGER {name} ON {table}")
        op.execute(f"DROP FUNCTION {name}()")
    op.drop_table("order_steps")
