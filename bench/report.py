"""What every benchmark reports: the machine, the versions, the arguments and a flat table of figures."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
from msgspec import Struct

Figures: TypeAlias = dict[
    str, float | int | None
]  # names end in their unit; None: could not be measured here
_LIBRARIES = (
    "ray",
    "fastapi",
    "starlette",
    "uvicorn",
    "uvloop",
    "websockets",
    "redis",
    "asyncpg",
    "numpy",
    "scipy",
    "ortools",
    "pyvroom",
    "pyvrp",
    "msgspec",
)


class Report(Struct, frozen=True, kw_only=True):
    """One run of a benchmark, as `summary.json` holds it."""

    name: str
    machine: dict[str, Any]
    versions: dict[str, str]
    commit: str
    arguments: dict[str, Any]
    figures: Figures
    notes: tuple[str, ...] = ()

    def table(self) -> str:
        """The figures as two aligned columns."""
        width = max((len(name) for name in self.figures), default=0)
        lines = [f"{self.name} · {self.machine['cpu']}, {self.machine['cores']} cores · {self.commit}"]
        lines += [f"  {name:<{width}}  {_number(value):>14}" for name, value in self.figures.items()]
        return "\n".join(lines + [f"  note: {note}" for note in self.notes])

    def write(self, folder: Path) -> Path:
        """Write `summary.json` into the folder; the file's path."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "summary.json"
        path.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n")
        return path


def report(name: str, arguments: Struct, figures: Figures, notes: tuple[str, ...] = ()) -> Report:
    """A report of this machine and this commit. Fields of `arguments` that may hold secrets must be left out of it."""
    return Report(
        name=name,
        machine=machine(),
        versions=versions(),
        commit=commit(),
        arguments={field: _plain(getattr(arguments, field)) for field in arguments.__struct_fields__},
        figures=figures,
        notes=notes,
    )


def machine() -> dict[str, Any]:
    """Processor, cores, memory and system."""
    cpu = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), cpu)
        memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        memory_bytes = 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"cpu": cpu, "cores": cores, "memory_bytes": memory_bytes, "system": platform.platform()}


def versions() -> dict[str, str]:
    """Of Python and the libraries that matter to speed."""
    found = {"python": platform.python_version()}
    for library in _LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found


def commit() -> str:
    """The commit that was measured, with a mark when files differ from it; `unknown` outside a repository."""
    try:
        root = Path(__file__).resolve().parent.parent
        head = _git(root, "rev-parse", "--short=12", "HEAD")
        return head + ("+" if _git(root, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def median(values: list[float]) -> float | None:
    """The median, None of nothing."""
    return statistics.median(values) if values else None


def ratio(value: float | None, reference: float | None) -> float | None:
    """value / reference to three places; None when either is missing."""
    return round(value / reference, 3) if value is not None and reference else None


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=root, capture_output=True, text=True, check=True, timeout=10
    )
    return done.stdout.strip()


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _number(value: float | int | None) -> str:
    if value is None:
        return "–"
    return (
        f"{value:,}" if isinstance(value, int) else f"{value:,.3f}" if abs(value) < 100 else f"{value:,.0f}"
    )
