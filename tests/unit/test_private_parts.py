"""Private parts of libraries: each is in the table of ADR 0020, has a bound, and is there."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.requirements import Requirement
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.server import ServerProtocol

from gateway.http.listener.server import BoundedRequests
from gateway.sockets import masking
from gateway.sockets.server import BoundedSocket

ROOT = Path(__file__).parents[2]
ADR = ROOT / "docs" / "adr" / "0020-private-parts.md"
ROOMS = ("actors", "domain", "doorstep", "gateway", "integrations", "persistence", "sim", "solver")
# Without an underscore, and documented nowhere.
HIDDEN = (
    "uvicorn.protocols.",
    "websockets.speedups",
    "websockets.utils",
    "ray.experimental",
    "sqlalchemy.util",
)
MADE_HERE = {
    "address",
    "phase",
    "since_s",
    "held_bytes",
}  # attributes of our own classes, without an underscore
STANDARD = {"_exit", "_asdict", "_replace", "_set_running_loop", "_log_destroy_pending"}


class Row(NamedTuple):
    library: str
    parts: tuple[str, ...]


def rows() -> list[Row]:
    found = []
    for line in ADR.read_text().splitlines():
        if line.startswith("| `"):
            library, part, *_ = (cell.strip() for cell in line.strip("|").split(" | "))
            found.append(Row(library.strip("` "), tuple(re.findall(r"`([^`]+)`", part))))
    return found


NAMED = {part for row in rows() for part in row.parts}


def private(source: str, own: set[str]) -> Iterator[str]:
    """Names of libraries' private parts in a file; `own`: attributes that are ours."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.ImportFrom(module=str(module), names=names) if module.split(".")[0] not in (
                *ROOMS,
                "__future__",
            ):
                for name in names:
                    path = f"{module}.{name.name}"
                    if path.startswith(HIDDEN) or any(part.startswith("_") for part in path.split(".")):
                        yield path
            case ast.Attribute(attr=attr) if attr.startswith("_") and not attr.startswith("__"):
                if attr not in own | STANDARD:
                    yield attr
            case _:
                pass


def own_names(trees: list[ast.Module]) -> set[str]:
    """What some file of ours gives a value or a body to."""
    names = set[str]()
    for tree in trees:
        for node in ast.walk(tree):
            match node:
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                    names.add(name)
                case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name, ctx=ast.Store()):
                    names.add(name)
                case ast.Name(id=name, ctx=ast.Store()):
                    names.add(name)
                case _:
                    pass
    return names


def test_no_private_part_is_used_that_is_not_told_of() -> None:
    sources = {path: path.read_text() for room in ROOMS for path in (ROOT / room).rglob("*.py")}
    own = own_names([ast.parse(source) for source in sources.values()])
    used = {name for source in sources.values() for name in private(source, own)}
    assert used, "nothing was found, which cannot be"
    assert used - NAMED == set(), f"tell of them in {ADR.name}, or do without"


def test_a_private_part_is_found() -> None:
    text = """
        from uvicorn.protocols.http.h11_impl import H11Protocol
        from ray import _private
        from websockets.frames import Frame
        import msgspec
        def f(self, redis): return self._mine, redis._theirs, msgspec.json
    """
    found = set(private(textwrap.dedent(text), {"_mine"}))
    assert found == {"uvicorn.protocols.http.h11_impl.H11Protocol", "ray._private", "_theirs"}


@pytest.mark.parametrize("part", sorted(part for part in NAMED if "." in part and "current_size" not in part))
def test_a_private_part_is_there(part: str) -> None:
    names = part.split(".")
    for cut in range(len(names), 0, -1):
        try:
            thing = importlib.import_module(".".join(names[:cut]))
        except ImportError:
            continue
        for name in names[cut:]:
            thing = getattr(thing, name)
        return
    raise AssertionError(part)


def test_methods_of_private_parts_are_there() -> None:
    from ray.experimental import internal_kv

    vroom = importlib.import_module("vroom")  # ships no types

    assert {part for part in NAMED if part.startswith("_internal_kv")} <= vars(internal_kv).keys()
    assert {"_add_shipment", "_routes_numpy"} <= NAMED & {
        *dir(vroom.Input),
        *dir(vroom.solution.solution.Solution),
    }
    assert ServerProtocol().current_size is None


@pytest.mark.parametrize("row", rows(), ids=lambda row: str(row.library))
def test_a_library_with_private_parts_is_bounded(row: Row) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {(one := Requirement(text)).name: one for text in project["dependencies"]}
    specifier = wanted[row.library].specifier
    assert any(one.operator == "<" for one in specifier), f"{row.library} has no upper bound"
    assert version(row.library) in specifier


def attributes(kind: type) -> set[str]:
    """Of `self`, in the class's own source."""
    return {
        node.attr
        for node in ast.walk(ast.parse(inspect.getsource(kind)))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"
    }


@pytest.mark.parametrize(
    ("ours", "base"), [(BoundedRequests, HttpToolsProtocol), (BoundedSocket, WebSocketsSansIOProtocol)]
)
def test_what_is_used_of_a_base_class_is_there_and_told_of(ours: type, base: type) -> None:
    own, used, set_by_them = vars(ours).keys(), attributes(ours), attributes(base)
    theirs = {*dir(base), *set_by_them}
    inherited = {name for name in used | own if name in theirs and not name.startswith("_")}
    used = {name for name in used if not name.startswith("_")} - MADE_HERE
    assert used - own <= inherited, "the base class has it no more"
    [told] = re.findall(rf"\* `{base.__name__}`: ([^*]*?)\.\n", ADR.read_text())
    assert set(re.findall(r"`(\w+)`", told)) == inherited


@pytest.mark.parametrize("size", [*range(10), 99, 125])
def test_our_own_unmasking_is_the_librarys(size: int) -> None:
    data, mask = bytes(range(3, 3 + size)), b"\x01\x80\xff\x37"
    assert masking.unmasked(data, mask) == masking.unmask(data, mask)


def test_without_the_librarys_unmasking_there_is_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert masking.unmask is not masking.unmasked
    monkeypatch.setitem(sys.modules, "websockets.speedups", None)
    assert masking.quickest() is masking.unmasked
