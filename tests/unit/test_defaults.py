"""Each default of a setting is stated once: by the room that lives by it, or by the settings themselves."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from doorstep.settings.settings import Settings, explain_settings

ROOT = Path(__file__).parents[2]
ROOMS = ("actors", "bench", "domain", "doorstep", "gateway", "integrations", "persistence", "sim", "solver")
# By room, what has a setting's name (or its end) and nothing to do with it.
OTHERS = {
    *(
        ("actors", "speed"),
        ("domain", "speed"),
        ("sim", "speed"),
        ("doorstep", "speed"),
    ),  # time's own
    ("domain", "retry_s"),  # of a plan
    ("doorstep", "limit"),  # lines that a command prints
    ("bench", "drain_s"),  # until a measurement's work is done
    ("gateway", "silent_s"),  # after which few wait for a market
    ("sim", "stuck_s"),  # until a dispatcher loses patience
}


class Stated(NamedTuple):
    name: str
    value: object
    place: str
    line: int


def stated(source: str, place: str) -> Iterator[Stated]:
    """Fields, constants and parameters that a number or a text is given to, and settings that are given one."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.AnnAssign | ast.Assign | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        pairs: list[tuple[str, ast.expr | None]] = []
        match node:
            case (
                ast.AnnAssign(target=ast.Name(id=name), value=value)
                | ast.Assign(targets=[ast.Name(id=name)], value=value)
            ):
                is_setting = isinstance(value, ast.Call) and getattr(value.func, "id", "") == "Field"
                pairs = [(name, value.args[0] if isinstance(value, ast.Call) and is_setting else value)]
            case ast.FunctionDef(args=given) | ast.AsyncFunctionDef(args=given):
                late = given.args[len(given.args) - len(given.defaults) :]
                pairs = list(zip((arg.arg for arg in late), given.defaults, strict=True))
                pairs += zip((arg.arg for arg in given.kwonlyargs), given.kw_defaults, strict=True)
        for name, value in pairs:
            try:
                literal = None if value is None else ast.literal_eval(value)
            except ValueError:
                continue
            if isinstance(literal, int | float | str) and not isinstance(literal, bool) and literal:
                yield Stated(name.lower(), literal, place, node.lineno)


def doubles(defaults: dict[str, Any], all_stated: list[Stated]) -> dict[str, list[Stated]]:
    """What is stated twice, by setting. A shorter name counts where the value is the same: `pool_size` is
    `db_pool_size`."""
    found: dict[str, list[Stated]] = defaultdict(list)
    for one in all_stated:
        for name, default in defaults.items():
            shorter = len(one.name) > 4 and name.endswith(f"_{one.name}") and one.value == default
            if (one.name == name or shorter) and (one.place.partition("/")[0], one.name) not in OTHERS:
                found[name].append(one)
    return {name: places for name, places in found.items() if len(places) > 1}


def test_no_default_stands_twice() -> None:
    files = [
        path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py")) if "versions" not in path.parts
    ]
    everything = [one for path in files for one in stated(path.read_text(), str(path.relative_to(ROOT)))]
    defaults = {name: field.default for name, field in Settings.model_fields.items()}
    assert len([one for one in everything if one.name in defaults]) > 100
    assert doubles(defaults, everything) == {}


@pytest.mark.parametrize(
    "source",
    [
        "class Limits:\n    db_pool_size: int = 8",
        "def connect(url, *, pool_size: int = 8): ...",
        "async def connect(pool_size=8): ...",
        "POOL_SIZE = 8",
        "DB_POOL_SIZE = 9",
    ],
)
def test_a_default_that_stands_twice_is_found(source: str) -> None:
    setting = list(stated("db_pool_size: int = Field(8, ge=1)", "doorstep/settings/stores.py"))
    assert list(doubles({"db_pool_size": 8}, [*setting, *stated(source, "elsewhere.py")])) == ["db_pool_size"]


def test_a_default_that_is_taken_over_stands_once() -> None:
    taken = stated("db_pool_size: int = Field(LIMITS.db_pool_size, ge=1)", "doorstep/settings/stores.py")
    limits = stated("db_pool_size: int = pool.POOL_SIZE", "actors/config.py")
    pool = stated("POOL_SIZE = 8\nTIMES = 8", "persistence/pool.py")
    assert doubles({"db_pool_size": 8}, [*taken, *limits, *pool]) == {}


def test_a_default_that_a_page_names_is_the_setting_s() -> None:
    rows = {row.name: row.default for row in explain_settings()}
    told = [
        (page.name, name, value)
        for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
        for name, value in re.findall(r"`([A-Z][A-Z_]+)` \(default ([^);,]+)\)", page.read_text())
    ]
    assert len(told) >= 2
    wrong = [(page, name, value) for page, name, value in told if rows.get(name) != value]
    assert wrong == []
