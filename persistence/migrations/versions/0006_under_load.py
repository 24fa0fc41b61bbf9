"""Fewer index entries and trigger calls for each change; totals of what is over; leases of the outbox.

* A row's status was part of index conditions, so that every step of a task wrote into all of its indexes. Now they
  ask whether it is over (`tasks.live`, `offers.closed_ms`), and most steps stay on their page (HOT).
* The triggers that look edges up are called only for what is not one of the lifecycle's edges as known when they were
  made. The edge tables still decide the rest.
"""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from domain.orders.lifecycle import OFFER_EDGES, ORDER_EDGES, TASK_EDGES, OrderStatus, TaskStatus

revision = "0006"
down_revision = "0005"

_LIVE = "status NOT IN ('CANCELLED', 'DONE', 'FAILED')"
_CHANGED = {
    "orders": "OLD.status IS DISTINCT FROM NEW.status",
    "tasks": "OLD.status IS DISTINCT FROM NEW.status OR OLD.driver_id IS DISTINCT FROM NEW.driver_id"
    " OR OLD.offer_id IS DISTINCT FROM NEW.offer_id",
    "offers": "OLD.status IS DISTINCT FROM NEW.status",
}
# A task that goes to a driver is always looked at, and so is an order's hand-over.
_SAME_HANDS = (
    "OLD.driver_id IS NOT DISTINCT FROM NEW.driver_id AND OLD.offer_id IS NOT DISTINCT FROM NEW.offer_id"
)
_BY_OFFER = (TaskStatus.OFFERED, TaskStatus.ASSIGNED)


def upgrade() -> None:
    op.add_column(
        "tasks", sa.Column("live", sa.Boolean(), sa.Computed(_LIVE, persisted=True), nullable=False)
    )
    op.execute("ALTER TABLE tasks SET (fillfactor = 50)")
    for name in (
        "uq_tasks_delivery",
        "ix_tasks_live",
        "ix_tasks_driver",
        "ix_tasks_driver_live",
        "ix_tasks_ended",
    ):
        op.drop_index(name, table_name="tasks")
    live_delivery = sa.text("kind = 'DELIVERY' AND live")
    op.create_index("uq_tasks_delivery", "tasks", ["order_id"], unique=True, postgresql_where=live_delivery)
    op.create_index("ix_tasks_region", "tasks", ["region_id", "live", "ended_ms"])
    has_driver = sa.text("driver_id IS NOT NULL")
    op.create_index("ix_tasks_driver", "tasks", ["driver_id", "live"], postgresql_where=has_driver)

    for name in ("ix_offers_expires", "ix_offers_driver_live", "ix_offers_region_status", "ix_offers_closed"):
        op.drop_index(name, table_name="offers")
    is_open = sa.text("closed_ms IS NULL")
    op.create_index("ix_offers_driver_live", "offers", ["driver_id"], postgresql_where=is_open)
    op.create_index("ix_offers_region", "offers", ["region_id", "closed_ms"])

    op.create_index("ix_dossier_events_at", "dossier_events", ["at_ms"])

    gated = {(at, to) for at, to in ORDER_EDGES if to is OrderStatus.DELIVERED}
    by_offer = {(at, to) for at, to in TASK_EDGES if to in _BY_OFFER}
    _look_at("orders", _known(ORDER_EDGES - gated))
    _look_at("tasks", f"{_known(TASK_EDGES - by_offer)} AND {_SAME_HANDS}")
    _look_at("offers", _known(OFFER_EDGES))

    op.create_table(
        "region_totals",
        sa.Column("region_id", sa.Text(), nullable=False),
        sa.Column("before_ms", sa.BigInteger(), nullable=False),
        sa.Column("tasks", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("offers", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.PrimaryKeyConstraint("region_id", name=op.f("pk_region_totals")),
    )
    op.create_table(
        "leases",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_leases")),
    )


def downgrade() -> None:
    op.drop_table("leases")
    op.drop_table("region_totals")
    for table in _CHANGED:
        _look_at(table, "false")
    op.drop_index("ix_dossier_events_at", table_name="dossier_events")
    for name in ("ix_offers_region", "ix_offers_driver_live"):
        op.drop_index(name, table_name="offers")
    is_offered = sa.text("status = 'OFFERED'")
    op.create_index("ix_offers_driver_live", "offers", ["driver_id"], postgresql_where=is_offered)
    op.create_index("ix_offers_expires", "offers", ["expires_ms"], postgresql_where=is_offered)
    op.create_index("ix_offers_region_status", "offers", ["region_id", "status"])
    closed = sa.text("closed_ms IS NOT NULL")
    op.create_index("ix_offers_closed", "offers", ["region_id", "closed_ms"], postgresql_where=closed)
    for name in ("ix_tasks_driver", "ix_tasks_region", "uq_tasks_delivery"):
        op.drop_index(name, table_name="tasks")
    op.drop_column("tasks", "live")
    op.execute("ALTER TABLE tasks RESET (fillfactor)")
    live, has_driver = sa.text(_LIVE), sa.text("driver_id IS NOT NULL")
    both = sa.text(f"driver_id IS NOT NULL AND {_LIVE}")
    delivery, ended = sa.text(f"kind = 'DELIVERY' AND {_LIVE}"), sa.text("ended_ms IS NOT NULL")
    op.create_index("uq_tasks_delivery", "tasks", ["order_id"], unique=True, postgresql_where=delivery)
    op.create_index("ix_tasks_live", "tasks", ["region_id"], postgresql_where=live)
    op.create_index("ix_tasks_driver", "tasks", ["driver_id"], postgresql_where=has_driver)
    op.create_index("ix_tasks_driver_live", "tasks", ["driver_id"], postgresql_where=both)
    op.create_index("ix_tasks_ended", "tasks", ["region_id", "ended_ms"], postgresql_where=ended)


def _known(edges: Iterable[tuple[str, str]]) -> str:
    """Whether OLD to NEW is one of these edges, as an expression that needs no look-up."""
    listed = ", ".join(f"'{at} {to}'" for at, to in sorted((str(at), str(to)) for at, to in edges))
    return f"OLD.status || ' ' || NEW.status = ANY (ARRAY[{listed}])"


def _look_at(table: str, unless: str) -> None:
    """Have the trigger `<table>_edge` look at changes, but for those that are fine without a look."""
    op.execute(f"DROP TRIGGER {table}_edge ON {table}")
    op.execute(
        f"CREATE TRIGGER {table}_edge BEFORE UPDATE ON {table} FOR EACH ROW"
        f" WHEN (({_CHANGED[table]}) AND NOT ({unless})) EXECUTE FUNCTION {table}_edge()"
    )
