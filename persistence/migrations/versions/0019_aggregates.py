"""An event in the outbox names what it is about: an aggregate, such as an order, and its id; and a market or none.

What waits, and the dead letters, were all of orders.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"

_CHECKS = (
    ("aggregate", "length(aggregate) BETWEEN 1 AND 32"),
    ("topic", "channel <> 'bus' OR starts_with(topic, aggregate || '.')"),
    ("of_orders", "channel = 'bus' OR aggregate = 'order'"),
    ("region", "aggregate <> 'order' OR region_id <> ''"),
)


def upgrade() -> None:
    op.alter_column("outbox", "order_id", new_column_name="aggregate_id")  # the index of held events follows
    op.add_column("outbox", sa.Column("aggregate", sa.Text(), server_default="order", nullable=False))
    op.alter_column("outbox", "aggregate", server_default=None)
    for name, condition in _CHECKS:
        op.create_check_constraint(op.f(f"ck_outbox_{name}"), "outbox", condition)


def downgrade() -> None:
    op.execute(
        "DELETE FROM outbox WHERE aggregate <> 'order'"
    )  # a trigger refuses it while one of them waits
    for name, _ in _CHECKS:
        op.drop_constraint(op.f(f"ck_outbox_{name}"), "outbox")
    op.drop_column("outbox", "aggregate")
    op.alter_column("outbox", "aggregate_id", new_column_name="order_id")
