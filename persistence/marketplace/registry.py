"""Every resource of the marketplace: one line each."""

from __future__ import annotations

from typing import Any

from domain.marketplace.change import Done, done
from persistence.marketplace import accounts, products, stores, vehicles
from persistence.marketplace.kind import Kind, Step

RESOURCES = (accounts, stores, products, vehicles)

STEPS: dict[type[Any], Step] = {Done: Step(decide=done)}
for _resource in RESOURCES:
    STEPS |= _resource.STEPS

KINDS: dict[str, Kind] = {step.kind.aggregate: step.kind for step in STEPS.values() if step.kind is not None}
