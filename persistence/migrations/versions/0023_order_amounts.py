"""An order's total has its parts, and each line what it was sold for.

What an older server took had neither fee nor tax nor tip, and a product's price never changed: all of it is exact.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"

_PARTS = ("goods_cents", "fee_cents", "tax_cents", "tip_cents")
_NEVER = (
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
    *("pickup_lat", "pickup_lng", "dropoff_lat", "dropoff_lng", "dropoff_address"),
)


def upgrade() -> None:
    for name in _PARTS:
        op.add_column("orders", sa.Column(name, sa.BigInteger(), server_default="0", nullable=False))
    op.execute("UPDATE orders SET goods_cents = total_cents")
    for name in ("price_cents", "tax_cents"):
        op.add_column("order_items", sa.Column(name, sa.BigInteger(), server_default="0", nullable=False))
    op.execute("ALTER TABLE order_items DISABLE TRIGGER order_items_append_only")
    op.execute(
        "UPDATE order_items i SET price_cents = p.price_cents FROM products p WHERE p.product_id = i.product_id"
    )
    op.execute("ALTER TABLE order_items ENABLE TRIGGER order_items_append_only")
    for table, names in (("orders", _PARTS), ("order_items", ("price_cents", "tax_cents"))):
        for name in names:
            op.alter_column(table, name, server_default=None)
    op.create_check_constraint(
        op.f("ck_orders_total"),
        "orders",
        "least(goods_cents, fee_cents, tax_cents, tip_cents) >= 0"
        " AND total_cents = goods_cents + fee_cents + tax_cents + tip_cents",
    )
    op.create_check_constraint(
        op.f("ck_order_items_amounts"), "order_items", "price_cents >= 0 AND tax_cents >= 0"
    )
    _freeze((*_NEVER, *_PARTS))


def downgrade() -> None:
    _freeze(_NEVER)
    op.drop_constraint(op.f("ck_order_items_amounts"), "order_items")
    op.drop_constraint(op.f("ck_orders_total"), "orders")
    for name in ("price_cents", "tax_cents"):
        op.drop_column("order_items", name)
    for name in _PARTS:
        op.drop_column("orders", name)


def _freeze(columns: tuple[str, ...]) -> None:
    old, new = (", ".join(f"{row}.{name}" for name in columns) for row in ("OLD", "NEW"))
    op.execute("DROP TRIGGER orders_frozen ON orders")
    op.execute(
        "CREATE TRIGGER orders_frozen AFTER UPDATE ON orders FOR EACH ROW"
        f" WHEN (ROW({old}) IS DISTINCT FROM ROW({new})) EXECUTE FUNCTION row_frozen()"
    )
