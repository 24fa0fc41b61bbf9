"""Each protection, taken out, is missed: a checker that finds nothing is not a checker.

`python -m tests.sim` looks for the seeds anew after a change to what worlds are made of.
"""

from __future__ import annotations

import pytest

from sim.campaign import Order, shrink
from sim.world import World
from tests.sim.mutations import MUTATIONS


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_protection_taken_out_is_missed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    take_out, seed = MUTATIONS[name]
    assert World(seed).run().violation is None, "the promise is broken without the mutation too"
    take_out(monkeypatch)
    violation = World(seed).run().violation
    assert violation is not None, f"{take_out.__doc__} Seed {seed} does not show it: python -m tests.sim"


def test_the_least_that_breaks_a_promise_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the dossier's key it takes two commands in one transaction's time, and no other fault."""
    take_out, seed = MUTATIONS["dossier key"]
    take_out(monkeypatch)
    violation = World(seed).run().violation
    assert violation is not None
    told: list[str] = []
    least = shrink(seed, Order(seeds=1), violation, told.append)
    assert least.violation.rule == violation.rule
    assert len(least.faults) + len(told) == len(Order(seeds=1).faults)
    again = World(seed, faults=least.faults, steps=least.steps).run()
    assert again.violation == least.violation
    if least.steps:
        fewer = World(seed, faults=least.faults, steps=least.steps - 1).run().violation
        assert fewer is None or fewer.rule != violation.rule
