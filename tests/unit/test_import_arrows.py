"""The rooms of the house and the doors between them (docs: architecture). An import not allowed here fails."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]

# room -> rooms it may import, besides itself
ARROWS: dict[str, set[str]] = {
    "domain": set(),
    "solver": {"domain"},
    "persistence": {"domain"},
    "integrations": {"domain"},
    "actors": {"domain", "solver", "persistence", "integrations"},
    "gateway": {"domain", "persistence", "actors"},
    "sim": {"domain", "solver", "persistence", "actors", "gateway"},
}
ANYTHING = {"bench", "doorstep", "scripts", "tests"}  # may import every room
ROOMS = ARROWS.keys() | ANYTHING

DOMAIN_LIBRARIES = {"numpy", "h3", "msgspec"}
# The domain gets time, ids and chance as arguments, and does no I/O.
NOT_IN_DOMAIN = {
    *("asyncio", "concurrent", "http", "io", "logging", "multiprocessing", "os", "pathlib", "random"),
    *(
        "secrets",
        "select",
        "shutil",
        "socket",
        "sqlite3",
        "ssl",
        "subprocess",
        "tempfile",
        "threading",
        "time",
    ),
}
RAY_FILES = {"actors/remote.py", "gateway/deciders/ray.py"}


class Import(NamedTuple):
    """One imported module, absolute, and where."""

    file: str
    line: int
    module: str

    @property
    def top(self) -> str:
        return self.module.partition(".")[0]

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.module}"


def imports_of(source: str, file: str) -> Iterator[Import]:
    """Every import in the source, also those inside functions and under TYPE_CHECKING."""
    package = file.removesuffix(".py").split("/")[:-1]
    for node in ast.walk(ast.parse(source, file)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(file, node.lineno, alias.name)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            yield Import(file, node.lineno, ".".join([*base, node.module or ""]).strip("."))


def broken_rules(found: Import) -> Iterator[str]:
    """The rules that this import breaks."""
    room = found.file.partition("/")[0]
    if found.top in ROOMS and found.top != room and room not in ANYTHING and found.top not in ARROWS[room]:
        yield f"{found}: {room} may import {', '.join(sorted(ARROWS[room])) or 'no other room'}"
    if found.top == "ray" and room not in ANYTHING and found.file not in RAY_FILES:
        yield f"{found}: Ray belongs in {' and '.join(sorted(RAY_FILES))}"
    if found.top in ("sqlalchemy", "alembic") and room not in ("persistence", "bench", "tests"):
        yield f"{found}: SQLAlchemy belongs in persistence/"  # and in what is measured beside it
    if room == "domain" and found.top not in ROOMS:
        if found.top in NOT_IN_DOMAIN:
            yield f"{found}: the domain has no I/O, clock or chance of its own"
        elif found.top not in sys.stdlib_module_names | DOMAIN_LIBRARIES:
            yield f"{found}: the domain uses the standard library, {', '.join(sorted(DOMAIN_LIBRARIES))}"


def test_no_forbidden_arrow() -> None:
    broken = [
        rule
        for room in sorted(ROOMS)
        for path in sorted((ROOT / room).rglob("*.py"))
        for found in imports_of(path.read_text(), path.relative_to(ROOT).as_posix())
        for rule in broken_rules(found)
    ]
    assert not broken, "\n" + "\n".join(broken)


def test_every_room_is_known() -> None:
    """A new top-level package has to be given its place in the table."""
    packages = {
        path.parent.name
        for path in ROOT.glob("*/*.py")
        if not path.parent.name.startswith(".") and path.parent.name not in ("docs", "web", "node_modules")
    }
    assert packages <= ROOMS


@pytest.mark.parametrize(
    ("file", "line", "allowed"),
    [
        ("solver/fast/solver.py", "from domain.solve import Weights", True),
        ("solver/fast/solver.py", "import persistence.orders.plan", False),
        ("solver/fast/solver.py", "import ray", False),
        ("actors/remote.py", "import ray.actor", True),
        ("actors/region/shell.py", "from ray import remote", False),
        ("actors/region/shell.py", "from gateway import app", False),
        ("gateway/deciders/ray.py", "import ray", True),
        ("gateway/app.py", "import sqlalchemy as sa", False),
        ("gateway/app.py", "import integrations.identity", False),
        ("sim/demo/city.py", "def f():\n    from doorstep.settings.settings import Settings", False),
        ("bench/live/run.py", "from gateway import app", True),
        ("domain/region/machine.py", "import time", False),
        ("domain/region/machine.py", "import httpx", False),
        ("domain/region/machine.py", "from . import offers", True),
        ("domain/compliance/texas.py", "from ..ground.geo import distance_m", True),
        ("persistence/tables/orders.py", "import sqlalchemy", True),
        ("doorstep/cli/app.py", "import sqlalchemy", False),
    ],
)
def test_the_test_sees_arrows(file: str, line: str, allowed: bool) -> None:
    broken = [rule for found in imports_of(line, file) for rule in broken_rules(found)]
    assert (not broken) is allowed
