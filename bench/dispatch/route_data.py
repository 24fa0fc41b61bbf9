"""The public pick-up and delivery instances, read from a folder of the user's: none are shipped."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from msgspec import Struct

from domain.ground.arrays import F64
from solver.routes.problem import Problem, Shipments, Vehicles

FOLDERS = {"lilim": "lilim", "sb": "sartori_buriol"}
_NODES = "100"  # clients of an instance, in the lists of best known values

Best = dict[str, tuple[int, float]]  # instance -> vehicles, cost


class Instance(Struct, frozen=True, kw_only=True):
    """A problem with the best known values, fewest vehicles first."""

    name: str
    problem: Problem
    best_vehicles: int
    best_cost: float


def read_set(data: Path, name: str) -> list[Instance]:
    """All instances of `lilim` or `sb`, none where the folder is missing; `ValueError` for a file that is not one."""
    folder = data / FOLDERS[name]
    if not folder.is_dir():
        return []
    read, best_of = {"lilim": (_lilim, _best_lilim), "sb": (_sartori_buriol, _best_sartori_buriol)}[name]
    best = best_of(folder)
    found = []
    for path in sorted(folder.glob("*.txt")):
        if path.stem in best:
            try:
                problem = read(path.read_text())
            except (ValueError, IndexError) as error:
                raise ValueError(f"{path} is not an instance: {error}") from error
            vehicles, cost = best[path.stem]
            found.append(Instance(name=path.stem, problem=problem, best_vehicles=vehicles, best_cost=cost))
    return found


def _lilim(text: str) -> Problem:
    """`vehicles capacity speed`, then `id x y demand opens closes service pickup delivery` per node; 0 is the depot.

    Travel is the Euclidean distance in double precision.
    """
    lines = [[float(word) for word in line.split()] for line in text.splitlines() if line.strip()]
    nodes = np.array(lines[1:])
    x, y = nodes[:, 1], nodes[:, 2]
    travel = np.hypot(x[:, None] - x, y[:, None] - y)
    return _problem(travel, nodes[:, 3:], vehicles=int(lines[0][0]), capacity=int(lines[0][1]))


def _sartori_buriol(text: str) -> Problem:
    """`KEY: value` lines, NODES with `id lat lng demand opens closes service pickup delivery`, EDGES with minutes."""
    lines = text.splitlines()
    keys = dict(line.split(":", 1) for line in lines[: lines.index("NODES")])
    nodes_at, edges_at, size = lines.index("NODES") + 1, lines.index("EDGES") + 1, int(keys["SIZE"])
    nodes = np.array([[float(word) for word in line.split()] for line in lines[nodes_at : nodes_at + size]])
    travel = np.array([[float(word) for word in line.split()] for line in lines[edges_at : edges_at + size]])
    return _problem(travel, nodes[:, 3:], vehicles=size // 2, capacity=int(keys["CAPACITY"]))


def _problem(travel: F64, nodes: F64, *, vehicles: int, capacity: int) -> Problem:
    """`nodes`: demand, opens, closes, service, pickup, delivery. A vehicle costs more than any travel could."""
    demand, opens, closes, service = nodes[:, :4].T
    pickup = np.flatnonzero((nodes[:, 5] > 0) & (np.arange(len(nodes)) > 0))
    door = nodes[pickup, 5].astype(np.int64)
    depot = np.zeros(vehicles, np.int64)
    return Problem(
        travel=travel,
        shipments=Shipments(
            pickup=pickup,
            pickup_from=opens[pickup],
            pickup_to=closes[pickup],
            pickup_service=service[pickup],
            door=door,
            door_from=opens[door],
            door_to=closes[door],
            door_service=service[door],
            amount=demand[pickup].astype(np.int64),
        ),
        vehicles=Vehicles(
            start=depot,
            end=depot,
            shift_from=np.full(vehicles, opens[0]),
            shift_to=np.full(vehicles, closes[0]),
            capacity=np.full(vehicles, capacity),
            fixed=np.full(vehicles, np.ceil(travel.max() * len(travel))),
        ),
    )


def _best_lilim(folder: Path) -> Best:
    rows = [row for row in _rows(folder, ",") if row["clients"] == _NODES]
    return _least((row["instance"].lower(), int(row["routes"]), float(row["distance"])) for row in rows)


def _best_sartori_buriol(folder: Path) -> Best:
    rows = [row for row in _rows(folder, ";") if row["size"] == _NODES]
    return _least((row["instance"], int(row["vehicles"]), float(row["cost"])) for row in rows)


def _least(rows: Iterator[tuple[str, int, float]]) -> Best:
    """The list keeps older records too."""
    best: Best = {}
    for name, vehicles, cost in rows:
        best[name] = min(best.get(name, (vehicles, cost)), (vehicles, cost))
    return best


def _rows(folder: Path, delimiter: str) -> Sequence[dict[str, str]]:
    """The table of best known values, `bks*`; none without one."""
    for path in sorted(folder.glob("bks*")):
        with path.open(newline="") as file:
            return list(csv.DictReader(file, delimiter=delimiter))
    return []
