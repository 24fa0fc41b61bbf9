"""Every resource of the marketplace: one line each."""

from __future__ import annotations

from typing import Any

from domain.marketplace.change import Done, done
from persistence.marketplace import (
    accounts,
    customers,
    drivers,
    merchant_documents,
    merchants,
    payouts,
    products,
    refunds,
    staff,
    stores,
    tickets,
    vehicles,
)
from persistence.marketplace.kind import Kind, Step

RESOURCES = (
    tickets,
    accounts,
    customers,
    drivers,
    merchants,
    staff,
    merchant_documents,
    stores,
    products,
    vehicles,
    payouts,
    refunds,
)

STEPS: dict[type[Any], Step] = {Done: Step(decide=done)}
for _resource in RESOURCES:
    STEPS |= _resource.STEPS

_changed = [step.kind for step in STEPS.values() if step.kind is not None]
KINDS: dict[str, Kind] = {kind.aggregate: kind for kind in _changed}


def kind_of(record: Any) -> Kind:
    """How a record is kept."""
    return _KIND_OF[type(record)]


_KIND_OF: dict[type[Any], Kind] = {kind.record: kind for kind in KINDS.values()}
if len(_KIND_OF) != len(KINDS):
    raise TypeError("two kinds have one record")
