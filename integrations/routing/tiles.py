"""Road tiles from an OpenStreetMap file, by Valhalla's own builder in a process of its own."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from integrations.routing.valhalla import config_for, has_tiles

PROGRAM = "valhalla_build_tiles"
# Wheels of pyvalhalla for Python 3.12 bring the builder along; it runs without Python, and so beside any version.
BUILDER_FOLDER = Path(sys.prefix) / "valhalla-tools"
GET_BUILDER = (
    "python -m pip install --no-deps --only-binary=:all: --python-version 3.12"
    f" --target {BUILDER_FOLDER} pyvalhalla==3.9.1"
)
_LAST_WORDS = 12  # lines of a failed builder that are shown
_STEP = re.compile(r"\[INFO\]\S* (\w[^/]*?)\.\.\.$")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class TilesError(Exception):
    """Tiles cannot be made; the message says why and what to do."""


def find_builder(named: Path | None = None) -> Path:
    """The builder: the one that is named, of the installed pyvalhalla, of `BUILDER_FOLDER`, or on the PATH."""
    if named is not None:
        if not named.is_file():
            raise TilesError(f"VALHALLA_BUILDER names {named}, which is no file.")
        return named
    package = find_spec("valhalla")
    folders = [Path(path) for path in (package.submodule_search_locations or ())] if package else []
    for folder in (*folders, BUILDER_FOLDER / "valhalla"):
        if (program := folder / "bin" / PROGRAM).is_file():
            return program
    if on_path := shutil.which(PROGRAM):
        return Path(on_path)
    raise TilesError(
        f"There is no {PROGRAM} here: pyvalhalla for Python 3.11 comes without. Get it by\n  {GET_BUILDER}\n"
        "or install Valhalla and name the program in VALHALLA_BUILDER."
    )


def build_tiles(source: Path, folder: Path, builder: Path, say: Callable[[str], None]) -> None:
    """Make `folder` hold the tiles of `source`; what it held before is replaced at the end. `TilesError` when that
    cannot be, and then the folder is as it was."""
    if folder.exists() and any(folder.iterdir()) and not has_tiles(folder):
        raise TilesError(f"{folder} holds something else than road tiles; name an empty folder.")
    draft, former = folder.with_name(folder.name + ".new"), folder.with_name(folder.name + ".old")
    for leftover in (draft, former):
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        draft.mkdir(parents=True)
        with TemporaryDirectory(dir=folder.parent) as scratch:
            _run(builder, _as_pbf(source, Path(scratch), say), draft, Path(scratch), say)
        if folder.exists():
            folder.rename(former)
        draft.rename(folder)
    except OSError as error:
        raise TilesError(f"{folder} cannot be written: {error}") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        shutil.rmtree(former, ignore_errors=True)


def _run(builder: Path, pbf: Path, draft: Path, scratch: Path, say: Callable[[str], None]) -> None:
    config = scratch / "valhalla.json"
    config.write_text(json.dumps(config_for(draft)))
    began, last = time.monotonic(), deque[str](maxlen=_LAST_WORDS)
    with subprocess.Popen(
        [str(builder.absolute()), "-c", str(config), str(pbf.absolute())],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout is not None
        for raw in process.stdout:
            line = _COLOUR.sub("", raw).rstrip()
            last.append(line)
            if step := _STEP.search(line):
                say(f"{time.monotonic() - began:6.1f} s  {step[1]}")
    if process.returncode != 0 or not has_tiles(draft):
        words = "\n  ".join(last)
        raise TilesError(
            f"{PROGRAM} made no tiles (exit status {process.returncode}). Its last words:\n  {words}"
        )


def _as_pbf(source: Path, scratch: Path, say: Callable[[str], None]) -> Path:
    """The file itself if it is an .osm.pbf, else one made of it. `TilesError` for what is no OSM file."""
    try:
        with source.open("rb") as file:
            start = file.read(64)
        packed = start[:2] == b"\x1f\x8b"
        if packed:
            with gzip.open(source) as file:
                start = file.read(64)
    except (OSError, EOFError) as error:
        raise TilesError(f"{source} cannot be read: {error}") from error
    if start[4:15] == b"\n\tOSMHeader" and not packed:
        return source
    if b"<?xml" not in start and b"<osm" not in start:
        raise TilesError(f"{source} is no OpenStreetMap file: .osm.pbf, .osm or .osm.gz is wanted.")
    try:
        osmium: Any = import_module("osmium")
    except ImportError:
        raise TilesError(
            f"{source.name} is OSM XML, and Valhalla reads .osm.pbf alone. `python -m pip install osmium` brings"
            f" what converts it; or do that by `osmium cat {source.name} -o roads.osm.pbf`."
        ) from None
    say(f"converting {source.name} to .osm.pbf")
    pbf = scratch / "source.osm.pbf"
    # The suffix tells osmium the format, whatever the file is called.
    kind = "osm.gz" if packed else "osm"
    try:
        with osmium.SimpleWriter(str(pbf)) as writer:
            for thing in osmium.FileProcessor(osmium.io.File(str(source), kind)):
                writer.add(thing)
    except RuntimeError as error:
        raise TilesError(f"{source} is no usable OSM file: {error}") from error
    return pbf
