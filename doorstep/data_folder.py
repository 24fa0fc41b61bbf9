"""The data folder: one server at a time in it, and closed to every other user of the machine."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

from doorstep.embedded.account import EmbeddedError

FOLDER_MODE, FILE_MODE = 0o700, 0o600
PASS_THROUGH = 0o001  # for the account that the embedded Postgres becomes under root: it may pass, not list
OTHERS = 0o077
SESSIONS_KEPT = 3  # of Ray's, logs included, beside the one that runs
# What of a data folder is a folder and nobody else's business; road tiles are not.
PRIVATE_FOLDERS = ("pg", "redis", "ray")
# A socket's path may not be longer; Ray's are below its folder, in `session_<date>_<pid>/sockets/<name>`.
_SOCKET_PATH_BYTES = 103
_LONGEST_SOCKET = len("/session_2026-01-01_00-00-00_000000_1234567/sockets/dash_MetricsHead")


class AlreadyRunning(EmbeddedError):
    """Another process uses this data folder; `pid` is its process id, or None while it is still starting."""

    def __init__(self, data_dir: Path, pid: int | None) -> None:
        who = f"pid {pid}" if pid is not None else "still starting"
        super().__init__(
            f"Doorstep is already running in {data_dir} ({who}). "
            "Stop that one first, or set DATA_DIR to another folder."
        )
        self.pid = pid


class FolderOpen(EmbeddedError):
    """Other users of the machine may read or change what is private."""


class FolderLock:
    """A lock file that says whose the folder is; gone with the process that holds it."""

    def __init__(self, data_dir: Path, name: str = "lock") -> None:
        self._data_dir, self._path = data_dir, data_dir / name
        self._file: IO[str] | None = None

    def take(self) -> None:
        """`AlreadyRunning` when another process holds it."""
        # Opened for appending: a refused second start must not wipe the pid of the first.
        file = open(self._path, "a+", encoding="ascii", opener=_private)  # noqa: SIM115 - held until release
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise AlreadyRunning(self._data_dir, self._holder()) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        self._file = file

    def release(self) -> None:
        """Let go of it; does nothing where it is not held."""
        if self._file is not None:
            self._file.truncate(0)
            self._file.close()
            self._file = None

    def held_by_another(self) -> bool:
        """Whether some process holds it."""
        try:
            with open(self._path, encoding="ascii") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def _holder(self) -> int | None:
        with suppress(OSError, ValueError):
            return int(self._path.read_text())
        return None


def write_private(path: Path, content: str | bytes) -> None:
    """Put a file in place that only its owner can read, whatever was there before."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    with open(draft, "xb", opener=_private) as file:
        file.write(content.encode() if isinstance(content, str) else content)
    draft.replace(path)


def append_private(path: Path) -> IO[bytes]:
    """Open a log that only its owner can read."""
    file = open(path, "ab", opener=_private)  # noqa: SIM115 - the caller's
    os.fchmod(file.fileno(), FILE_MODE)
    return file


def close_folder(data_dir: Path, *, strict: bool) -> None:
    """Make the folder, and see that no other user can read or write what is in it. What is open is closed, or with
    `strict` refused: by then somebody may have read the secrets."""
    data_dir.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    for path, mode, wanted in _loose(data_dir):
        if strict:
            raise FolderOpen(
                f"{path} is open to other users of this machine (mode {mode:04o}), which production does not take: "
                f"chmod {wanted:o} {path}, and renew the secrets in {data_dir} if others were on it."
            )
        try:
            path.chmod(wanted)
        except OSError as error:
            raise FolderOpen(f"{path} cannot be closed to other users: {error.strerror}.") from None


def _loose(data_dir: Path) -> Iterator[tuple[Path, int, int]]:
    """What others may get at: the path, its mode and the one it should have."""
    passing = PASS_THROUGH if os.geteuid() == 0 else 0
    folders = [data_dir / name for name in PRIVATE_FOLDERS]
    for path in (data_dir, *sorted(data_dir.iterdir())):
        with suppress(FileNotFoundError):
            entry = path.lstat()
            mode = stat.S_IMODE(entry.st_mode)
            if path == data_dir and mode & OTHERS & ~passing:
                yield path, mode, mode & ~(OTHERS & ~passing)
            elif (stat.S_ISREG(entry.st_mode) or path in folders) and mode & OTHERS:
                yield path, mode, mode & ~OTHERS


def ray_folder(data_dir: Path) -> Path:
    """Where the Ray cluster of this data folder keeps its sockets and logs, made on first use. Ray opens its own folder
    to everybody, so it lies in one that nobody else may enter: below the data folder, or where that would make the
    paths of sockets too long, in /tmp."""
    parent = data_dir.absolute() / "ray"
    if len(os.fsencode(parent / "tmp")) + _LONGEST_SOCKET > _SOCKET_PATH_BYTES:
        digest = hashlib.sha256(os.fsencode(data_dir.resolve())).hexdigest()[:8]
        parent = Path("/tmp") / f"doorstep-{os.geteuid()}-{digest}"
    with suppress(FileExistsError):
        parent.mkdir(mode=FOLDER_MODE)
    entry = parent.lstat()
    # In /tmp anybody may have been there before.
    if not stat.S_ISDIR(entry.st_mode) or entry.st_uid != os.geteuid():
        raise FolderOpen(f"{parent} belongs to somebody else, and is wanted for Ray: remove it.")
    parent.chmod(FOLDER_MODE)
    return parent / "tmp"


def forget_sessions(folder: Path) -> int:
    """Remove what earlier runs of the Ray cluster left in its folder (`ray_folder`), but for the newest
    `SESSIONS_KEPT`; returns how many. Nothing of them may run any more."""
    if not folder.is_dir():
        return 0
    sessions = [path for path in folder.glob("session_*") if path.is_dir() and not path.is_symlink()]
    sessions.sort(key=lambda path: path.name)  # the name begins with the time
    old = sessions[: max(0, len(sessions) - SESSIONS_KEPT)]
    for path in old:
        shutil.rmtree(path, ignore_errors=True)
    return len(old)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, FILE_MODE)
