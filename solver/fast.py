"""FAST: one task to one driver, at least total cost, over pruned candidates.

Every task should be brought if it can be, so the matching is the cheapest among the largest ones. It is a min-cost flow
(Ahuja, Magnanti, Orlin: Network Flows, ch. 12), solved by OR-Tools' cost-scaling push-relabel on integer costs.

Where drivers are short, the choice is also which tasks to leave. Lateness that every driver would incur is no reason to
leave a task, so it is taken off each of the task's pairs, and so is a bonus for its waiting: see `urgency_s`.
"""

from __future__ import annotations

import numpy as np
from ortools.graph.python import min_cost_flow

from domain.solve import F64, I64, Assignment, Plan, SolveRequest
from solver.candidates import candidate_pairs
from solver.graph import Graph, Part, split
from solver.objective import pair_costs, urgency_s

# The flow solver wants integers: a tenth of a second is finer than any of the estimates. Costs are capped at ten weeks,
# so that the penalty for leaving a task unmatched outweighs them and the sum stays far below 2**63.
UNITS_PER_S = 10
COST_CAP = 2**26


class Fast:
    """See the module. Stateless: one instance serves all."""

    def prepare(self, request: SolveRequest) -> Graph:
        """Candidate pairs, their costs and features, and the connected parts. Barred pairs are left out."""
        # Who declined a task is no loss to the number of those who may take it.
        declined = np.bincount(request.declined_task, minlength=len(request.tasks.ids))
        task, driver, away_m = candidate_pairs(request.tasks, request.drivers, request.candidates + declined)
        cost_s, features = pair_costs(request, task, driver, away_m)
        allowed = np.isfinite(cost_s)
        task, driver, cost_s = task[allowed], driver[allowed], cost_s[allowed]
        features = {name: column[allowed] for name, column in features.items()}
        urgency = urgency_s(request, task, features)
        # All pairs by the same amount, so that the least is 0: a matching of a given size costs that much more.
        match_s = cost_s - urgency[task] + urgency.max(initial=0.0)
        parts = split(task, driver, match_s, len(request.tasks.ids), len(request.drivers.ids))
        return Graph(task=task, driver=driver, cost_s=cost_s, match_s=match_s, features=features, parts=parts)

    def match(self, part: Part) -> list[int]:
        """Pairs of the cheapest largest matching of one part. `RuntimeError` when the flow solver finds no optimum."""
        if len(part.pairs) == 1:
            return [int(part.pairs[0])]
        tasks, task = np.unique(part.task, return_inverse=True)
        drivers, driver = np.unique(part.driver, return_inverse=True)
        chosen = _min_cost_matching(task, driver, part.match_s, len(tasks), len(drivers))
        return [int(pair) for pair in part.pairs[chosen]]

    def plan(self, request: SolveRequest, graph: Graph, chosen: list[int]) -> Plan:
        """The plan with each chosen pair's features, and the cost of the next best driver of the same task."""
        assignments = []
        for pair in sorted(chosen):
            t, d = int(graph.task[pair]), int(graph.driver[pair])
            features = {name: round(float(column[pair]), 3) for name, column in graph.features.items()}
            cost = float(graph.cost_s[pair])
            assignments.append(
                Assignment(
                    task_ids=(request.tasks.ids[t],),
                    driver_id=request.drivers.ids[d],
                    cost=round(cost, 3),
                    features=features | {"cost_s": round(cost, 3)},
                )
            )
        return Plan(
            request_id=request.request_id,
            assignments=tuple(assignments),
            components=len(graph.parts),
            pairs=len(graph.task),
        )


def _min_cost_matching(task: I64, driver: I64, cost_s: F64, tasks: int, drivers: int) -> I64:
    """Indices of the pairs in a cheapest largest matching.

    Nodes: tasks, drivers, then one sink. Each task sends one unit, over a pair or straight to the sink at a cost above
    that of any matching, which is what a task left unmatched costs.
    """
    pairs = len(task)
    sink = tasks + drivers
    cost = np.minimum(np.rint(cost_s * UNITS_PER_S), COST_CAP).astype(np.int64)
    unmatched = int(cost.max()) * min(tasks, drivers) + 1
    flow = min_cost_flow.SimpleMinCostFlow()
    tail = np.concatenate([task, np.arange(tasks, sink), np.arange(tasks)])
    head = np.concatenate([driver + tasks, np.full(drivers + tasks, sink)])
    unit_cost = np.concatenate([cost, np.zeros(drivers, np.int64), np.full(tasks, unmatched)])
    flow.add_arcs_with_capacity_and_unit_cost(tail, head, np.ones(len(tail), np.int64), unit_cost)
    flow.set_nodes_supplies(
        np.arange(sink + 1), np.concatenate([np.ones(tasks), np.zeros(drivers), [-tasks]]).astype(np.int64)
    )
    status = flow.solve()
    if status != flow.OPTIMAL:
        raise RuntimeError(f"min-cost flow ended with status {status}")
    return np.flatnonzero(flow.flows(np.arange(pairs)))
