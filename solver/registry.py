"""Solvers by name. A contract test runs every entry."""

from __future__ import annotations

from typing import Protocol

from domain.solve import Plan, SolveRequest
from solver.fast import Fast
from solver.graph import Graph, Part


class Solver(Protocol):
    """A solver works in two pure steps, so that a shell may run the parts in parallel."""

    def prepare(self, request: SolveRequest) -> Graph:
        """Prune to candidate pairs, cost them, split them into independent parts."""
        ...

    def match(self, part: Part) -> list[int]:
        """The chosen pairs of one part, as indices into the graph's pairs."""
        ...

    def plan(self, request: SolveRequest, graph: Graph, chosen: list[int]) -> Plan:
        """The plan that the chosen pairs make."""
        ...


SOLVERS: dict[str, Solver] = {
    "fast": Fast(),
}


def solve(request: SolveRequest) -> Plan:
    """The whole work in one call, in this process."""
    solver = SOLVERS[request.solver]
    graph = solver.prepare(request)
    return solver.plan(request, graph, [pair for part in graph.parts for pair in solver.match(part)])
