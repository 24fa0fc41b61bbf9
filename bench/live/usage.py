"""What the processes of a local server use, by kind: seconds of processor time and resident memory."""

from __future__ import annotations

import os
import resource
from collections import defaultdict
from collections.abc import Callable

import psutil
from msgspec import Struct

GENERATOR = "generator"
# The first that a process's command line contains; Ray's workers carry the class or function they run in their title.
_KINDS = (
    ("ray::GatewayActor", "gateway"),
    ("ray::RegionActor", "region"),
    ("ray::PersistenceActor", "persistence"),
    ("ray::", "solver"),  # solve tasks, and idle workers that wait for one
    ("bench.live.load", GENERATOR),
    ("postgres", "postgres"),
    ("redis", "redis"),
    ("raylet", "ray"),
    ("gcs_server", "ray"),
    ("/ray/", "ray"),
)
KINDS = (*dict.fromkeys(kind for _, kind in _KINDS), "bench")
SERVER = tuple(kind for kind in KINDS if kind not in (GENERATOR, "bench"))
FILES_SPARE = 600  # files a process has open besides its sockets


class NoFiles(Exception):
    """Not so many sockets can be opened; the message says what to do."""


class Usage(Struct, frozen=True):
    """By kind: processor seconds since the first look, and bytes. Of Postgres what its processes share is left out: it
    would be counted once for each of them."""

    cpu_s: dict[str, float]
    rss_bytes: dict[str, int]


class Processes:
    """This process and all its children, looked at now and then. A process that comes and goes between two looks is not
    seen; one that has ended keeps what it was seen to use."""

    def __init__(self, root_pid: int | None = None) -> None:
        self._root = psutil.Process(root_pid if root_pid is not None else os.getpid())
        self._seen: dict[
            tuple[int, float], float
        ] = {}  # pid and time of birth -> processor seconds when last seen
        self._used: dict[str, float] = defaultdict(float)
        self._first = True

    def look(self) -> Usage:
        """The use up to now."""
        rss: dict[str, int] = defaultdict(int)
        for process in [self._root, *self._root.children(recursive=True)]:
            try:
                with process.oneshot():
                    kind = self._kind(process)
                    times, memory = process.cpu_times(), process.memory_info()
                    key = (process.pid, process.create_time())
            except psutil.Error:
                continue
            used_s = times.user + times.system
            # What it had used before the first look is not part of the run; a later process is all part of it.
            self._used[kind] += used_s - self._seen.get(key, used_s if self._first else 0.0)
            self._seen[key] = used_s
            rss[kind] += memory.rss - (memory.shared if kind == "postgres" else 0)
        self._first = False
        return Usage({kind: round(s, 3) for kind, s in self._used.items()}, dict(rss))

    def pids(self, kind: str) -> list[int]:
        """The processes of a kind."""
        found = []
        for process in self._root.children(recursive=True):
            try:
                if self._kind(process) == kind:
                    found.append(process.pid)
            except psutil.Error:
                continue
        return found

    def memory(self, kind: str) -> Callable[[], int]:
        """A look at the resident memory of a kind, bytes."""
        return lambda: self.look().rss_bytes.get(kind, 0)

    def _kind(self, process: psutil.Process) -> str:
        if process.pid == self._root.pid:
            return "bench"
        line = " ".join(process.cmdline()) or process.name()
        return next((kind for part, kind in _KINDS if part in line), "ray")


def require_files(sockets: int) -> None:
    """Let this process and its children open so many sockets each. `NoFiles` when the system does not allow it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = sockets + FILES_SPARE
    if soft != resource.RLIM_INFINITY and soft < wanted:
        if hard != resource.RLIM_INFINITY and hard < wanted:
            raise NoFiles(
                f"{sockets} sockets need {wanted} open files, and this system allows {hard}: raise the hard limit"
                " (`ulimit -Hn`, or LimitNOFILE= of the service), or ask for fewer drivers."
            )
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted if hard == resource.RLIM_INFINITY else hard, hard))
