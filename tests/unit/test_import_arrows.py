"""The rooms of the house and the doors between them (docs: architecture). An import not allowed here fails; so do a
circle of files and a folder of too many."""

from __future__ import annotations

import ast
import sys
from collections import Counter
from collections.abc import Collection, Iterator
from functools import cache
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
# (room, other room) -> the parts of the other that it may import, where that is not all of it
PARTS: dict[tuple[str, str], tuple[str, ...]] = {
    ("gateway", "persistence"): ("persistence.reads", "persistence.marketplace"),
    ("gateway", "actors"): (
        "actors.config",
        "actors.garbage",
        "actors.remote",
        "actors.telemetry",
        "actors.vendors",
    ),
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
FILES_LIMIT = 20  # Python files of a folder, besides what says what it is for
RAY_FILES = {"actors/remote.py", "gateway/deciders/ray.py"}


class Import(NamedTuple):
    """One imported module, absolute, and where; `name`: what is taken from it, which may be a module itself."""

    file: str
    line: int
    module: str
    name: str = ""

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
            module = ".".join([*base, node.module or ""]).strip(".")
            yield from (Import(file, node.lineno, module, alias.name) for alias in node.names)


def broken_rules(found: Import) -> Iterator[str]:
    """The rules that this import breaks."""
    room = found.file.partition("/")[0]
    if found.top in ROOMS and found.top != room and room not in ANYTHING and found.top not in ARROWS[room]:
        yield f"{found}: {room} may import {', '.join(sorted(ARROWS[room])) or 'no other room'}"
    parts = PARTS.get((room, found.top))
    if parts is not None and not any(
        f"{found.module}.{found.name}.".startswith(f"{part}.") for part in parts
    ):
        yield f"{found}: of {found.top}, {room} may import {', '.join(parts)}"
    if found.top == "ray" and room not in ANYTHING and found.file not in RAY_FILES:
        yield f"{found}: Ray belongs in {' and '.join(sorted(RAY_FILES))}"
    if found.top in ("sqlalchemy", "alembic") and room not in ("persistence", "bench", "tests"):
        yield f"{found}: SQLAlchemy belongs in persistence/"  # and in what is measured beside it
    if room == "domain" and found.top not in ROOMS:
        if found.top in NOT_IN_DOMAIN:
            yield f"{found}: the domain has no I/O, clock or chance of its own"
        elif found.top not in sys.stdlib_module_names | DOMAIN_LIBRARIES:
            yield f"{found}: the domain uses the standard library, {', '.join(sorted(DOMAIN_LIBRARIES))}"


@cache
def sources() -> dict[str, list[Import]]:
    """Every Python file of the house, with what it imports."""
    names = (
        path.relative_to(ROOT).as_posix() for room in sorted(ROOMS) for path in (ROOT / room).rglob("*.py")
    )
    return {name: list(imports_of((ROOT / name).read_text(), name)) for name in sorted(names)}


def file_of(found: Import, files: Collection[str]) -> str | None:
    """The file that is imported, None for a library. A package that is passed through on the way counts for nothing."""
    folder = found.module.replace(".", "/")
    inside = f"{folder}/{found.name}" if found.name else folder
    wanted = (f"{inside}.py", f"{inside}/__init__.py", f"{folder}.py", f"{folder}/__init__.py")
    return next((name for name in wanted if name in files), None)


def circles(arrows: dict[str, set[str]]) -> list[list[str]]:
    """Files that import each other, over whatever ways: each group in the order of its names."""
    reached = {name: _reachable(name, arrows) for name in arrows}
    groups = {
        tuple(sorted(other for other in there if name in reached[other]))
        for name, there in reached.items()
        if name in there
    }
    return [list(group) for group in sorted(groups)]


def _reachable(start: str, arrows: dict[str, set[str]]) -> set[str]:
    found: set[str] = set()
    ahead = [start]
    while ahead:
        new = arrows[ahead.pop()] - found
        found |= new
        ahead += new
    return found


def test_no_forbidden_arrow() -> None:
    broken = dict.fromkeys(
        rule for imports in sources().values() for found in imports for rule in broken_rules(found)
    )
    assert not broken, "\n" + "\n".join(broken)


def test_no_circle_of_files() -> None:
    """Imports for types alone count as well: who needs the other's shape needs a Protocol, or a third file."""
    files = sources()
    arrows = {
        name: {there for found in imports if (there := file_of(found, files)) is not None} - {name}
        for name, imports in files.items()
    }
    assert circles(arrows) == []


def test_a_folder_of_many_files_is_two_folders() -> None:
    folders = Counter(Path(name).parent.as_posix() for name in sources() if not name.endswith("__init__.py"))
    del folders["persistence/migrations/versions"]  # grows for ever, in one line
    assert {folder: files for folder, files in folders.items() if files > FILES_LIMIT} == {}


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
        ("gateway/app.py", "from persistence.reads.views import User", True),
        ("gateway/app.py", "from persistence.orders.write import write", False),
        ("gateway/app.py", "from actors.region import shell", False),
        ("gateway/app.py", "from actors import region", False),
        ("gateway/app.py", "from actors import config", True),
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


@pytest.mark.parametrize(
    ("arrows", "expected"),
    [
        ({"a": {"b"}, "b": {"c"}, "c": set()}, []),
        ({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}, [["a", "b", "c"]]),
        ({"a": {"b"}, "b": {"a"}, "c": {"d", "a"}, "d": {"c"}}, [["a", "b"], ["c", "d"]]),
    ],
)
def test_the_test_sees_circles(arrows: dict[str, set[str]], expected: list[list[str]]) -> None:
    assert circles(arrows) == expected


@pytest.mark.parametrize(
    ("line", "file"),
    [
        ("import a.b", "a/b.py"),
        ("from a import b", "a/b.py"),
        ("from a.b import Name", "a/b.py"),
        ("from a import Name", "a/__init__.py"),
        ("if TYPE_CHECKING:\n    from a.b import Name", "a/b.py"),
        ("import json", None),
    ],
)
def test_the_test_knows_files(line: str, file: str | None) -> None:
    [found] = imports_of(line, "c.py")
    assert file_of(found, {"a/__init__.py", "a/b.py", "c.py"}) == file
