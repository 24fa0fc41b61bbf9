"""The candidate graph between open tasks and free drivers, and its connected parts."""

from __future__ import annotations

import numpy as np
from msgspec import Struct
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from domain.ground.arrays import F64, I64

# A smaller graph stays whole: to look for its parts takes longer than they would save.
WHOLE_PAIRS = 2**14


class Part(Struct, frozen=True, kw_only=True):
    """One or more connected components: `pairs` index into the graph's pairs; `task`, `driver`, `match_s` are of
    those pairs, ordered by task as they are."""

    pairs: I64
    task: I64
    driver: I64
    match_s: F64


class Graph(Struct, frozen=True, kw_only=True):
    """k candidate pairs, ordered by task, with their cost and the pick-up in seconds from now. A matching is the
    cheapest by `match_s`: the cost less the task's urgency, and the same for all pairs where drivers are plenty."""

    task: I64
    driver: I64
    cost_s: F64
    match_s: F64
    pickup: F64
    parts: list[Part]

    def drivers_of(self, task: int) -> I64:
        """The task's candidates."""
        start, end = np.searchsorted(self.task, [task, task + 1])
        return self.driver[start:end]


def split(
    task: I64, driver: I64, match_s: F64, tasks: int, drivers: int, whole: int = WHOLE_PAIRS
) -> list[Part]:
    """The connected components of the bipartite graph, each to be matched for itself, largest first; a graph of
    `whole` pairs or fewer in one. Pairs are ordered by task."""
    if len(task) == 0:
        return []
    everything = [Part(pairs=np.arange(len(task)), task=task, driver=driver, match_s=match_s)]
    if len(task) <= whole:
        return everything
    n = tasks + drivers
    ends = np.concatenate([[0], np.cumsum(np.bincount(task, minlength=n))])
    adjacency = csr_array((np.ones(len(task), np.int8), driver + tasks, ends), shape=(n, n))
    _, label = connected_components(adjacency, directed=False)
    of_pair = label[task]
    if (of_pair == of_pair[0]).all():
        return everything
    order = np.argsort(of_pair, kind="stable")
    cuts = np.flatnonzero(np.diff(of_pair[order])) + 1
    groups = sorted(np.split(order, cuts), key=len, reverse=True)
    return [
        Part(pairs=group, task=task[group], driver=driver[group], match_s=match_s[group]) for group in groups
    ]
