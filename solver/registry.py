"""Solvers by name. A contract test runs every entry."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from domain.ground.travel import TravelTimes
from domain.solve import Plan, Solver, SolveRequest
from solver.batch.solver import batch
from solver.fast.solver import fast
from solver.greedy import greedy

R = TypeVar("R")

SOLVERS: dict[str, Solver] = {
    "fast": fast,
    "batch": batch,
    "greedy": greedy,
}


def here(work: Callable[..., R], pieces: Sequence[tuple[Any, ...]]) -> list[R]:
    """Do the pieces one after the other in this process (see `domain.solve.Spread`)."""
    return [work(*piece) for piece in pieces]


def solve(request: SolveRequest, travel: TravelTimes | None = None) -> Plan:
    """The whole work in one call, in this process, by the request's own travel model unless another is given."""
    return SOLVERS[request.solver](request, travel or request.travel, here)
