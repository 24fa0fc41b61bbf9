"""What the docs and comments name exists: files and folders, modules and what is in them, links and their headings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = (
    "actors",
    "bench",
    "domain",
    "doorstep",
    "gateway",
    "integrations",
    "persistence",
    "sim",
    "solver",
    "scripts",
    "tests",
)
KINDS = (".md", ".py", ".ts", ".tsx", ".css", ".toml", ".yml", ".yaml", ".conf", "Makefile", "Dockerfile")
# What is told of the past keeps the names of the past.
PAST = ("CHANGELOG.md", "persistence/migrations/versions/")
# Made by a build or an install, not kept.
MADE = ("web/dist", "web/node_modules")
# What a reader of docs/guides/ is to add, and what is no path or module though it looks like one.
EXAMPLES = re.compile(r"oklahoma|ok-okc|tracking|acme|/assign\b")
OTHER_NAMES = ("doorstep.v1", "doorstep.direct", "doorstep.conf", "persistence.transaction")

SPAN = re.compile(r"`([^`\n]+)`")
FILE = re.compile(
    r"(?<![\w@/.-])(?:{})/[\w./*<>{{}}-]*\w\.(?:md|py|tsx?|css|json|ya?ml|conf|txt)\b".format(
        "|".join((*ROOMS, "docs", "web", "deploy"))
    )
)
PLACE = re.compile(r"(?<![\w@/.-])(?:{})/[\w./*<>{{}}-]*".format("|".join((*ROOMS, "docs", "web", "deploy"))))
DOTTED = re.compile(r"(?<![\w@/.-])(?:{})(?:\.\w+)+\b".format("|".join(ROOMS)))
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def walk(folder: Path) -> Iterator[Path]:
    """Every file that is kept: nothing of hidden folders, of builds and of packages."""
    for path in sorted(folder.iterdir()):
        if path.is_file():
            yield path
        elif not path.name.startswith(".") and path.name not in ("node_modules", "dist", "__pycache__"):
            yield from walk(path)


@cache
def files() -> tuple[str, ...]:
    names = (path.relative_to(ROOT).as_posix() for path in walk(ROOT) if path.name.endswith(KINDS))
    return tuple(name for name in names if not name.startswith(PAST) and name != "tests/unit/test_docs.py")


def places_in(text: str) -> Iterator[str]:
    """Files anywhere, folders where they stand in backticks."""
    yield from FILE.findall(text)
    for span in SPAN.findall(text):
        yield from (place.rstrip(".") for place in PLACE.findall(span))


def is_there(place: str, page: Path = ROOT / "README.md") -> bool:
    """From the root of the repository, or beside the page."""
    if EXAMPLES.search(place) or place.startswith(MADE):
        return True
    pattern = re.sub(r"<[^>]*>|\{[^}]*\}", "*", place).rstrip("/")
    return any(next(folder.glob(pattern), None) for folder in (ROOT, page.parent))


def resolves(dotted: str) -> bool:
    """Whether it is a module, or the longest part that is one has the rest somewhere in it."""
    parts = dotted.split(".")
    for cut in range(len(parts), 0, -1):
        path = ROOT.joinpath(*parts[:cut])
        if path.is_dir() and cut == len(parts):
            return True
        source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if source.is_file():
            return cut == len(parts) or re.search(rf"\b{parts[cut]}\b", source.read_text()) is not None
    return False


@pytest.mark.parametrize("name", files())
def test_what_is_named_exists(name: str) -> None:
    text = (ROOT / name).read_text()
    assert {place for place in places_in(text) if not is_there(place, ROOT / name)} == set()
    dotted = {one for span in SPAN.findall(text) for one in DOTTED.findall(span)}
    assert {one for one in dotted if not one.startswith(OTHER_NAMES) and not resolves(one)} == set()


@cache
def anchors(page: Path) -> frozenset[str]:
    """As its headings are linked to: small letters, words and hyphens."""
    plain = (
        re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", one)
        for one in HEADING.findall(FENCE.sub("", page.read_text()))
    )
    return frozenset(re.sub(r"[^\w\- ]", "", one.lower().strip()).replace(" ", "-") for one in plain)


@pytest.mark.parametrize("name", [name for name in files() if name.endswith(".md")])
def test_links_lead_somewhere(name: str) -> None:
    page = ROOT / name
    for target in LINK.findall(FENCE.sub("", page.read_text())):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        wanted = page.parent / path if path else page
        assert wanted.exists(), target
        assert not anchor or anchor in anchors(wanted), target


def test_what_is_not_there_is_found() -> None:
    gone = "see `domain/gone/`, x/y.py and domain/gone.py"
    assert set(places_in(gone)) == {"domain/gone/", "domain/gone.py"}
    assert not any(map(is_there, places_in(gone)))
    assert is_there("docs/guides/add-a*.md")
    assert resolves("gateway.web.APPS")
    assert not resolves("gateway.web.APPZ")
    assert not resolves("gateway.wob.APPS")
