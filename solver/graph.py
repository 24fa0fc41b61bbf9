"""The candidate graph between open tasks and free drivers, and its connected parts."""

from __future__ import annotations

import numpy as np
from msgspec import Struct
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from domain.solve import F64, I64


class Part(Struct, frozen=True, kw_only=True):
    """One connected component: `pairs` index into the graph's pairs; `task`, `driver`, `match_s` are of those pairs."""

    pairs: I64
    task: I64
    driver: I64
    match_s: F64


class Graph(Struct, frozen=True, kw_only=True):
    """k candidate pairs with their cost in equivalent seconds and the features of each as columns. A matching is the
    cheapest by `match_s`: the cost less the task's urgency, and the same for all pairs where drivers are plenty."""

    task: I64
    driver: I64
    cost_s: F64
    match_s: F64
    features: dict[str, F64]
    parts: list[Part]


def split(task: I64, driver: I64, match_s: F64, tasks: int, drivers: int) -> list[Part]:
    """The connected components of the bipartite graph, each to be matched for itself, largest first."""
    if len(task) == 0:
        return []
    n = tasks + drivers
    adjacency = coo_array((np.ones(len(task), np.int8), (task, driver + tasks)), shape=(n, n))
    _, label = connected_components(adjacency, directed=False)
    of_pair = label[task]
    order = np.argsort(of_pair, kind="stable")
    cuts = np.flatnonzero(np.diff(of_pair[order])) + 1
    groups = sorted(np.split(order, cuts), key=len, reverse=True)
    return [
        Part(pairs=group, task=task[group], driver=driver[group], match_s=match_s[group]) for group in groups
    ]
