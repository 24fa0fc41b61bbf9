"""The second lock behind the lifecycle: edge tables and the triggers that look them up.

Every refusal has SQLSTATE 23514 (check violation) and a constraint name, so a refused record can be named by it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from domain.orders.lifecycle import OFFER_EDGES, ORDER_EDGES, TASK_EDGES, TASK_START

revision = "0002"
down_revision = "0001"

_REFUSE = """
CREATE FUNCTION doorstep_refuse(constraint_name text, message text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = '23514', CONSTRAINT = constraint_name, MESSAGE = message;
END $$
"""

_ORDERS = """
CREATE FUNCTION orders_start() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM doorstep_refuse('orders_start', 'an order starts as DRAFT, not ' || NEW.status);
    RETURN NULL;
END $$;
CREATE TRIGGER orders_start BEFORE INSERT ON orders FOR EACH ROW
    WHEN (NEW.status <> 'DRAFT') EXECUTE FUNCTION orders_start();

CREATE FUNCTION orders_edge() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM order_edges WHERE from_status = OLD.status AND to_status = NEW.status) THEN
        PERFORM doorstep_refuse('orders_edge', format('no edge from %s to %s', OLD.status, NEW.status));
    END IF;
    IF NEW.status = 'DELIVERED' AND (OLD.status <> 'ID_VERIFIED' OR NOT EXISTS (
        SELECT 1
        FROM doorstep_checks c
        JOIN tasks t ON t.task_id = c.task_id AND t.driver_id = c.driver_id AND t.order_id = c.order_id
        WHERE c.order_id = NEW.order_id AND c.passed
          AND t.kind = 'DELIVERY' AND t.status IN ('AT_DROPOFF', 'DONE')
    )) THEN
        PERFORM doorstep_refuse('orders_door_gate', 'no passed check by the driver who holds the delivery');
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER orders_edge BEFORE UPDATE ON orders FOR EACH ROW
    WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION orders_edge();
"""

# An offer reaches a task only through the task's own offer_id, and the task is assigned only by that very offer,
# accepted by the driver it was made to: one row holds the winner, so there cannot be two.
_TASKS = """
CREATE FUNCTION tasks_start() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM task_starts s WHERE s.kind = NEW.kind AND s.status = NEW.status) THEN
        PERFORM doorstep_refuse('tasks_start', format('a %s does not start as %s', NEW.kind, NEW.status));
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER tasks_start BEFORE INSERT ON tasks FOR EACH ROW EXECUTE FUNCTION tasks_start();

CREATE FUNCTION tasks_edge() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    offer offers%ROWTYPE;
BEGIN
    IF OLD.status <> NEW.status
       AND NOT EXISTS (SELECT 1 FROM task_edges WHERE from_status = OLD.status AND to_status = NEW.status) THEN
        PERFORM doorstep_refuse('tasks_edge', format('no edge from %s to %s', OLD.status, NEW.status));
    END IF;
    IF OLD.driver_id <> NEW.driver_id THEN
        PERFORM doorstep_refuse('tasks_holder', 'a task goes from one driver to another only by way of OPEN');
    END IF;
    IF NEW.status NOT IN ('OFFERED', 'ASSIGNED') THEN
        RETURN NEW;
    END IF;
    -- By the key alone: a condition on the status would tempt the planner to a partial index.
    SELECT * INTO offer FROM offers WHERE offer_id = NEW.offer_id;
    IF NOT FOUND OR NEW.task_id <> ALL (offer.task_ids) THEN
        PERFORM doorstep_refuse('tasks_offer', 'the task names an offer that is not one of it');
    ELSIF NEW.status = 'OFFERED' AND offer.status <> 'OFFERED' THEN
        PERFORM doorstep_refuse('tasks_offer', 'an offered task names an open offer');
    ELSIF NEW.status = 'ASSIGNED' AND (NEW.offer_id IS DISTINCT FROM OLD.offer_id
            OR offer.status <> 'ACCEPTED' OR offer.driver_id IS DISTINCT FROM NEW.driver_id) THEN
        PERFORM doorstep_refuse('tasks_offer', 'a task is assigned by its own offer, accepted by that driver');
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER tasks_edge BEFORE UPDATE ON tasks FOR EACH ROW
    WHEN (OLD.status IS DISTINCT FROM NEW.status
          OR OLD.driver_id IS DISTINCT FROM NEW.driver_id
          OR OLD.offer_id IS DISTINCT FROM NEW.offer_id)
    EXECUTE FUNCTION tasks_edge();
"""

_OFFERS = """
CREATE FUNCTION offers_start() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM doorstep_refuse('offers_start', 'an offer starts as OFFERED, not ' || NEW.status);
    RETURN NULL;
END $$;
CREATE TRIGGER offers_start BEFORE INSERT ON offers FOR EACH ROW
    WHEN (NEW.status <> 'OFFERED') EXECUTE FUNCTION offers_start();

CREATE FUNCTION offers_edge() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM offer_edges WHERE from_status = OLD.status AND to_status = NEW.status) THEN
        PERFORM doorstep_refuse('offers_edge', format('no edge from %s to %s', OLD.status, NEW.status));
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER offers_edge BEFORE UPDATE ON offers FOR EACH ROW
    WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION offers_edge();

CREATE FUNCTION offers_frozen() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM doorstep_refuse('offers_frozen', 'only the outcome of an offer changes');
    RETURN NULL;
END $$;
CREATE TRIGGER offers_frozen BEFORE UPDATE ON offers FOR EACH ROW
    WHEN ((OLD.offer_id, OLD.region_id, OLD.driver_id, OLD.task_ids, OLD.made_ms)
          IS DISTINCT FROM (NEW.offer_id, NEW.region_id, NEW.driver_id, NEW.task_ids, NEW.made_ms))
    EXECUTE FUNCTION offers_frozen();
"""

# ENABLE ALWAYS: also when session_replication_role would switch triggers off.
_EVIDENCE = """
CREATE FUNCTION evidence_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM doorstep_refuse(TG_TABLE_NAME || '_append_only', TG_TABLE_NAME || ' refuses ' || TG_OP);
    RETURN NULL;
END $$;
CREATE TRIGGER dossier_events_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON dossier_events
    FOR EACH STATEMENT EXECUTE FUNCTION evidence_append_only();
ALTER TABLE dossier_events ENABLE ALWAYS TRIGGER dossier_events_append_only;
CREATE TRIGGER doorstep_checks_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON doorstep_checks
    FOR EACH STATEMENT EXECUTE FUNCTION evidence_append_only();
ALTER TABLE doorstep_checks ENABLE ALWAYS TRIGGER doorstep_checks_append_only;

CREATE FUNCTION dossier_events_chain() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- A join rather than a sub-query, which the planner may answer by hashing the whole table.
    IF EXISTS (
        SELECT 1 FROM fresh f
        LEFT JOIN dossier_events p ON p.order_id = f.order_id AND p.seq = f.seq - 1
        WHERE f.prev_hash IS DISTINCT FROM CASE WHEN f.seq = 1 THEN decode(repeat('00', 32), 'hex') ELSE p.hash END
    ) THEN
        PERFORM doorstep_refuse('dossier_events_chain', 'the event does not link to the one before it');
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER dossier_events_chain AFTER INSERT ON dossier_events REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION dossier_events_chain();
ALTER TABLE dossier_events ENABLE ALWAYS TRIGGER dossier_events_chain;
"""


def upgrade() -> None:
    for table, edges in (
        ("order_edges", ORDER_EDGES),
        ("task_edges", TASK_EDGES),
        ("offer_edges", OFFER_EDGES),
    ):
        target = sa.table(table, sa.column("from_status"), sa.column("to_status"))
        op.bulk_insert(target, [{"from_status": str(at), "to_status": str(to)} for at, to in sorted(edges)])
    starts = sa.table("task_starts", sa.column("kind"), sa.column("status"))
    op.bulk_insert(starts, [{"kind": str(kind), "status": str(at)} for kind, at in TASK_START.items()])
    for script in (_REFUSE, _ORDERS, _TASKS, _OFFERS, _EVIDENCE):
        for statement in _statements(script):
            op.execute(statement)


def downgrade() -> None:
    for table, names in {
        "orders": ("orders_start", "orders_edge"),
        "tasks": ("tasks_start", "tasks_edge"),
        "offers": ("offers_start", "offers_edge", "offers_frozen"),
        "dossier_events": ("dossier_events_append_only", "dossier_events_chain"),
        "doorstep_checks": ("doorstep_checks_append_only",),
    }.items():
        for name in names:
            op.execute(f"DROP TRIGGER {name} ON {table}")
            if not name.endswith("append_only"):
                op.execute(f"DROP FUNCTION {name}()")
    op.execute("DROP FUNCTION evidence_append_only()")
    op.execute("DROP FUNCTION doorstep_refuse(text, text)")
    for table in ("order_edges", "task_edges", "offer_edges", "task_starts"):
        op.execute(f"DELETE FROM {table}")


def _statements(script: str) -> list[str]:
    """The statements of a script (the driver prepares one at a time); a `;` inside $$ bodies does not end one."""
    statements, current, quoted = [], "", False
    for line in script.splitlines():
        current += line + "\n"
        quoted ^= line.count("$$") % 2 == 1
        if line.rstrip().endswith(";") and not quoted:
            statements.append(current.strip().rstrip(";"))
            current = ""
    return [*statements, current.strip()] if current.strip() else statements
