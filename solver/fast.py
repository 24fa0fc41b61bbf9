"""FAST: one task to one driver, at least total cost, over pruned candidates.

Every task should be brought if it can be, so the matching is the cheapest among the largest ones
(`solver/matching.py`).

Where drivers are short, the choice is also which tasks to leave. Lateness that every driver would incur is no reason to
leave a task, so it is taken off each of the task's pairs, and so is a bonus for its waiting: see `urgency_s`.
"""

from __future__ import annotations

import numpy as np

from domain.solve import Assignment, Plan, SolveRequest
from solver.candidates import all_pairs, candidate_pairs
from solver.graph import Graph, Part, split
from solver.matching import cheapest_matching
from solver.objective import pair_costs, urgency_s

# Up to this many tasks times drivers nothing is pruned.
PRUNED_FROM = 2**14
# Drivers costed for each one asked for. The cheapest driver is often not among the nearest, since drivers differ in how
# likely they are to accept: see docs/bench.md for what 1 to 4 lose against all pairs.
LOOK = 4
DIGITS = 3  # of what a plan says


class Fast:
    """See the module. Stateless: one instance serves all."""

    def prepare(self, request: SolveRequest) -> Graph:
        """Candidate pairs, their costs and features, and the connected parts. Barred pairs are left out."""
        tasks, drivers = request.tasks, request.drivers
        if len(tasks.ids) * len(drivers.ids) <= PRUNED_FROM:
            task, driver, away_m = all_pairs(tasks, drivers)
        else:
            # Who declined a task is no loss to the number of those who may take it.
            declined = np.bincount(request.declined_task, minlength=len(tasks.ids))
            wanted = LOOK * request.candidates + declined
            task, driver, away_m = candidate_pairs(tasks, drivers, wanted, crowds=True)
        cost_s, features = pair_costs(request, task, driver, away_m)
        allowed = np.isfinite(cost_s)
        if not allowed.all():
            task, driver, cost_s = task[allowed], driver[allowed], cost_s[allowed]
            features = {name: column[allowed] for name, column in features.items()}
        urgency = urgency_s(request, task, features)
        # All pairs by the same amount, so that the least is 0: a matching of a given size costs that much more.
        match_s = cost_s - urgency[task] + urgency.max(initial=0.0)
        parts = split(task, driver, match_s, len(tasks.ids), len(drivers.ids))
        return Graph(task=task, driver=driver, cost_s=cost_s, match_s=match_s, features=features, parts=parts)

    def match(self, part: Part) -> list[int]:
        """Pairs of the cheapest largest matching of one part."""
        chosen: list[int] = part.pairs[cheapest_matching(part.task, part.driver, part.match_s)].tolist()
        return chosen

    def plan(self, request: SolveRequest, graph: Graph, chosen: list[int]) -> Plan:
        """The plan with the cost and the features of each chosen pair."""
        pairs = np.array(sorted(chosen), np.int64)
        task_ids, driver_ids = request.tasks.ids, request.drivers.ids
        names = (*graph.features, "cost_s")
        columns = [column[pairs] for column in (*graph.features.values(), graph.cost_s)]
        rows = np.round(np.column_stack(columns), DIGITS).tolist()
        ends = zip(graph.task[pairs].tolist(), graph.driver[pairs].tolist(), rows, strict=True)
        return Plan(
            request_id=request.request_id,
            assignments=tuple(
                Assignment(
                    task_ids=(task_ids[t],),
                    driver_id=driver_ids[d],
                    cost=row[-1],
                    features=dict(zip(names, row, strict=True)),
                )
                for t, d, row in ends
            ),
            components=len(graph.parts),
            pairs=len(graph.task),
        )
