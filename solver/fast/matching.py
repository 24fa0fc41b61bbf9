"""The cheapest among the largest matchings of a bipartite graph.

Both engines are shortest augmenting paths, as scipy has them: over a full matrix (Crouse 2016) for what is small, over
the pairs alone (LAPJVsp, Jonker & Volgenant 1987) for the rest. They want every row of the smaller side matched. So a
row that finds no column has a way out, a missing pair or a column of its own, at a cost above that of any matching.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_array
from scipy.sparse.csgraph import min_weight_full_bipartite_matching

from domain.ground.arrays import F64, I64

DENSE_CELLS = 2**14  # rows times columns up to which a full matrix is quicker


def cheapest_matching(task: I64, driver: I64, cost: F64) -> I64:
    """Indices, ascending, of the pairs in a cheapest largest matching.

    Pair i is (`task[i]`, `driver[i]`) at `cost[i]`, finite; no pair occurs twice.
    """
    if len(cost) < 2:
        return np.arange(len(cost))
    row, rows = _ranked(task)
    column, columns = _ranked(driver)
    if rows > columns:
        row, rows, column, columns = column, columns, row, rows
    # The same for all pairs, which changes no choice among matchings of one size. Not 0: to scipy that is no pair.
    cost = cost - (cost.min() - 1.0)
    way_out = float(cost.max()) * rows + 1.0
    engine = _dense if rows * columns <= DENSE_CELLS else _sparse
    return np.flatnonzero(engine(row, column, cost, rows, columns, way_out)[row] == column)


def _ranked(ids: I64) -> tuple[I64, int]:
    """Ids as 0, 1, 2 ... in their order, and how many there are."""
    used = np.zeros(int(ids.max()) + 1, np.int64)
    used[ids] = 1
    rank = used.cumsum() - 1
    return rank[ids], int(rank[-1]) + 1


def _dense(row: I64, column: I64, cost: F64, rows: int, columns: int, way_out: float) -> I64:
    """The column of each row, by a matrix whose missing pairs are ways out."""
    matrix = np.full((rows, columns), way_out)
    matrix[row, column] = cost
    column_of: I64 = linear_sum_assignment(matrix)[1]
    return column_of


def _sparse(row: I64, column: I64, cost: F64, rows: int, columns: int, way_out: float) -> I64:
    """The column of each row, or one beyond `columns`: its way out, which is the last in the row."""
    order = np.argsort(row, kind="stable")  # linear where the pairs are in order already
    ends = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=rows))])
    aside, last = np.arange(rows), ends[1:]
    weights = np.insert(cost[order], last, way_out)
    indices = np.insert(column[order], last, columns + aside)
    ends[1:] += aside + 1
    graph = csr_array((weights, indices, ends), shape=(rows, columns + rows))
    column_of = np.empty(rows, np.int64)
    matched, found = min_weight_full_bipartite_matching(graph)
    column_of[matched] = found
    return column_of
