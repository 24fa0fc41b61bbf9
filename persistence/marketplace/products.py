"""What stores sell."""

from __future__ import annotations

from functools import partial

from domain.errors import NotFound
from domain.marketplace.products import AddProducts, Product, add_products
from persistence import tables
from persistence.marketplace.kind import Kind, Step
from persistence.marketplace.stores import STORES
from persistence.reads.queries import table_of

PRODUCTS = Kind(
    aggregate="product",
    table=table_of(tables.Product),
    record=Product,
    missing="There is no such product.",
    refusals={"fk_products_store_id": partial(NotFound, "There is no such store.")},
)
STEPS = {AddProducts: Step(decide=add_products, kind=PRODUCTS, on=STORES)}
