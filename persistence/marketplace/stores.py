"""Stores and their hours."""

from __future__ import annotations

from functools import partial

from domain.errors import NotFound
from domain.marketplace.stores import OpenStore, SetHours, Store, open_store, set_hours
from persistence import tables
from persistence.marketplace.kind import Kind, Step
from persistence.reads.queries import table_of

STORES = Kind(
    aggregate="store",
    table=table_of(tables.Store),
    record=Store,
    owner="merchant_id",
    market="region_id",
    changes=("hours",),
    missing="There is no such store.",
    refusals={"fk_stores_merchant_id": partial(NotFound, "There is no such merchant.")},
)
STEPS = {
    OpenStore: Step(decide=open_store, kind=STORES),
    SetHours: Step(decide=set_hours, kind=STORES, on=STORES),
}
