"""`python -m tests.sim`: for each protection, the first seed whose world misses it."""

from __future__ import annotations

import sys

import pytest

from sim.world.campaign import Order, outcomes
from tests.sim.mutations import MUTATIONS

LIMIT = 2_000  # seeds within which a protection must be missed


def main() -> int:
    """Exit status 1 when one is not missed within `LIMIT` seeds."""
    blind = 0
    for name, (take_out, _, faults) in MUTATIONS.items():
        with pytest.MonkeyPatch.context() as patch:
            take_out(patch)
            found = next((one for one in outcomes(Order(seeds=LIMIT, faults=faults)) if one.violation), None)
        print(f"{name:<14} {found.seed if found else 'not found':>10}  {found.violation if found else ''}")
        blind += found is None
    return 1 if blind else 0


if __name__ == "__main__":
    sys.exit(main())
