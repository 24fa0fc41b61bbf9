"""Locks for two roles: what never changes is refused by a trigger whoever asks, and old offers go by a function.

The server's role and its rights are given at the end of every run, see `persistence/grants.py`.
"""

from __future__ import annotations

from alembic import op

revision = "0015"
down_revision = "0014"

_FROZEN = """
CREATE FUNCTION row_frozen() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM doorstep_refuse(TG_NAME, TG_TABLE_NAME || ' refuses ' || TG_OP || ': this never changes');
    RETURN NULL;
END $$
"""
_PLACES = ("pickup_lat", "pickup_lng", "dropoff_lat", "dropoff_lng", "dropoff_address")
# The columns of a table that never change.
_NEVER = {
    "users": ("user_id", "created_ms"),
    "stores": ("store_id", "merchant_id", "region_id"),
    "products": ("product_id", "store_id"),
    "orders": (
        *(
            "order_id",
            "region_id",
            "customer_id",
            "merchant_id",
            "store_id",
            "min_age",
            "total_cents",
            "created_ms",
        ),
        *_PLACES,
    ),
    "tasks": (
        *("task_id", "order_id", "region_id", "kind", "closes_ms", "store_id", "min_age", "opened_ms"),
        *_PLACES,
    ),
    "offers": ("offer_id", "region_id", "driver_id", "task_ids", "made_ms", "features"),
}
_BEFORE = ("tasks", "offers")  # as ever; elsewhere a value out of its range is still told by its check
_TASKS_BEFORE = ("task_id", "order_id", "region_id", "kind", "closes_ms")
_OFFERS_BEFORE = ("offer_id", "region_id", "driver_id", "task_ids", "made_ms")
# Tables of which no row changes at all: (table, the trigger's name, what it refuses).
_WHOLE = (
    ("order_items", "order_items_append_only", "UPDATE OR DELETE OR TRUNCATE"),
    ("idempotency", "idempotency_frozen", "UPDATE"),
    ("offer_explanations", "offer_explanations_frozen", "UPDATE"),
)
# (table, the trigger's name, when, condition).
_ROWS = (
    (
        "offers",
        "offers_closed",
        "UPDATE",
        "OLD.closed_ms IS NOT NULL AND OLD.status = NEW.status"
        " AND (OLD.closed_ms, OLD.expires_ms, OLD.seen_ms, OLD.reason)"
        " IS DISTINCT FROM (NEW.closed_ms, NEW.expires_ms, NEW.seen_ms, NEW.reason)",
    ),
    ("offers", "offers_open", "DELETE", "OLD.closed_ms IS NULL"),
    ("outbox", "outbox_waiting", "DELETE", "OLD.done_at IS NULL"),
    ("regions", "regions_forward", "UPDATE", "NEW.epoch <= OLD.epoch"),
)

# Only what is in its region's totals, oldest first. An explanation goes with its offer.
_FORGET_OFFERS = """
CREATE FUNCTION forget_offers(made_before_ms bigint, at_most integer) RETURNS bigint
LANGUAGE sql SECURITY DEFINER AS $$
WITH old AS MATERIALIZED (
    SELECT o.offer_id FROM offers o JOIN region_totals t USING (region_id)
    WHERE o.made_ms < made_before_ms AND o.closed_ms < t.before_ms ORDER BY o.made_ms LIMIT at_most
    FOR UPDATE OF o SKIP LOCKED
), explained AS (
    DELETE FROM offer_explanations e USING old WHERE e.offer_id = old.offer_id
), gone AS (
    DELETE FROM offers o USING old WHERE o.offer_id = old.offer_id RETURNING 1
)
SELECT count(*) FROM gone
$$
"""


def upgrade() -> None:
    op.execute(_FROZEN)
    for table in ("tasks", "offers"):
        op.execute(f"DROP TRIGGER {table}_frozen ON {table}")
        op.execute(f"DROP FUNCTION {table}_frozen()")
    for table, columns in _NEVER.items():
        _freeze(table, columns, "row_frozen", "BEFORE" if table in _BEFORE else "AFTER")
    for table, name, what in _WHOLE:
        op.execute(f"CREATE TRIGGER {name} AFTER {what} ON {table} EXECUTE FUNCTION row_frozen()")
    for table, name, when, condition in _ROWS:
        op.execute(
            f"CREATE TRIGGER {name} BEFORE {when} ON {table} FOR EACH ROW WHEN ({condition})"
            " EXECUTE FUNCTION row_frozen()"
        )
    op.execute(_FORGET_OFFERS)


def downgrade() -> None:
    op.execute("DROP FUNCTION forget_offers(bigint, integer)")
    for table, name, *_ in (*_WHOLE, *_ROWS):
        op.execute(f"DROP TRIGGER {name} ON {table}")
    for table in _NEVER:
        op.execute(f"DROP TRIGGER {table}_frozen ON {table}")
    op.execute("DROP FUNCTION row_frozen()")
    for table, columns, message in (
        ("tasks", _TASKS_BEFORE, "a task stays of its order, its region and its kind"),
        ("offers", _OFFERS_BEFORE, "only the outcome of an offer changes"),
    ):
        op.execute(
            f"CREATE FUNCTION {table}_frozen() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            f" PERFORM doorstep_refuse('{table}_frozen', '{message}'); RETURN NULL; END $$"
        )
        _freeze(table, columns, f"{table}_frozen", "BEFORE")


def _freeze(table: str, columns: tuple[str, ...], function: str, when: str) -> None:
    """The trigger `<table>_frozen`, called only for a change of one of these columns."""
    old, new = (", ".join(f"{row}.{column}" for column in columns) for row in ("OLD", "NEW"))
    op.execute(
        f"CREATE TRIGGER {table}_frozen {when} UPDATE ON {table} FOR EACH ROW"
        f" WHEN (ROW({old}) IS DISTINCT FROM ROW({new})) EXECUTE FUNCTION {function}()"
    )
