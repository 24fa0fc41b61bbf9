"""The processes of one Ray cluster, which are a session of the operating system's, and how to end all of them.

They are told from others by a mark in their environment. The session's number alone proves nothing: after a crash of
everything another program may have it.
"""

from __future__ import annotations

import os
import secrets
import signal
import time
from contextlib import suppress
from pathlib import Path

import msgspec
import psutil
from msgspec import Struct

from doorstep.data_folder import write_private

MARK_ENV = "DOORSTEP_CLUSTER"
END_TIMEOUT_S = 10.0
_LOOK_EVERY_S = 0.02


class Session(Struct, frozen=True):
    """Who leads it, and the mark."""

    leader: int
    mark: str

    @classmethod
    def recorded(cls, data_dir: Path) -> Session | None:
        """The one that was last written down in this folder and not forgotten."""
        with suppress(OSError, msgspec.DecodeError):
            return msgspec.json.decode(_file(data_dir).read_bytes(), type=cls)
        return None

    def record(self, data_dir: Path) -> None:
        """Write it down for whoever must end it when this process cannot."""
        write_private(_file(data_dir), msgspec.json.encode(self))

    def members(self) -> list[psutil.Process]:
        """Its processes that live; none when the session is another one by now."""
        found = []
        for pid in psutil.pids():
            with suppress(OSError, psutil.Error):
                if os.getsid(pid) == self.leader:
                    process = psutil.Process(pid)
                    if process.status() != psutil.STATUS_ZOMBIE:
                        found.append(process)
        # Ray writes the titles of some of its processes over their environment, so not all of them show it.
        return found if any(map(self._is_marked, found)) else []

    def _is_marked(self, process: psutil.Process) -> bool:
        with suppress(psutil.Error):
            return process.environ().get(MARK_ENV) == self.mark
        return False

    def end(self, *, spare: int | None = None) -> int:
        """Kill them all, but for the process `spare`; returns how many there were. Nothing that is frozen can stay."""
        until_s, ended = time.monotonic() + END_TIMEOUT_S, set[int]()
        members = self.members()
        while members := [process for process in members if process.pid != spare]:
            for process in members:
                ended.add(process.pid)
                with suppress(psutil.Error):
                    process.send_signal(signal.SIGKILL)
            if time.monotonic() > until_s:
                break
            time.sleep(_LOOK_EVERY_S)
            members = self._rest()
        return len(ended)

    def _rest(self) -> list[psutil.Process]:
        """Who is still there, and who was just born of them: by now the session is known to be the right one."""
        found = []
        for pid in psutil.pids():
            with suppress(OSError, psutil.Error):
                if os.getsid(pid) == self.leader and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                    found.append(psutil.Process(pid))
        return found


def new_mark() -> str:
    """A mark that no other session has."""
    return secrets.token_hex(8)


def end_orphans(data_dir: Path) -> int:
    """End what a server that was killed has left running in this folder; the caller holds the folder's lock."""
    session = Session.recorded(data_dir)
    ended = session.end() if session is not None else 0
    forget(data_dir)
    return ended


def forget(data_dir: Path) -> None:
    """The recorded session has ended."""
    _file(data_dir).unlink(missing_ok=True)


def _file(data_dir: Path) -> Path:
    return data_dir / "cluster.json"
