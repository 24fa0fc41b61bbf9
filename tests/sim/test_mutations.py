"""Each protection, taken out, is missed: a checker that finds nothing is not a checker.

`python -m tests.sim` looks for the seeds anew after a change to what worlds are made of.
"""

from __future__ import annotations

import pytest

from sim.world.campaign import Order, shrink
from sim.world.world import World
from tests.sim.mutations import MUTATIONS


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_protection_taken_out_is_missed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    take_out, seed, faults = MUTATIONS[name]
    assert World(seed, faults=faults).run().violation is None, (
        "the promise is broken without the mutation too"
    )
    take_out(monkeypatch)
    violation = World(seed, faults=faults).run().violation
    assert violation is not None, f"{take_out.__doc__} Seed {seed} does not show it: python -m tests.sim"


def test_the_least_that_breaks_a_promise_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the look at tasks that are offered to nobody it takes an operator's hand, and no other fault."""
    take_out, seed, faults = MUTATIONS["put right"]
    order = Order(seeds=1, faults=(*faults, "repeat"))
    take_out(monkeypatch)
    violation = World(seed, faults=order.faults).run().violation
    assert violation is not None
    told: list[str] = []
    least = shrink(seed, order, violation, told.append)
    assert least.violation.rule == violation.rule
    assert len(least.faults) + len(told) == len(order.faults)
    again = World(seed, faults=least.faults, steps=least.steps).run()
    assert again.violation == least.violation
    if least.steps:
        fewer = World(seed, faults=least.faults, steps=least.steps - 1).run().violation
        assert fewer is None or fewer.rule != violation.rule
