"""As whom the embedded Postgres runs: the user who starts it, unless that is root, which Postgres refuses."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

# Nothing of the caller's environment (PGDATA, LD_PRELOAD, locale) may change how a server runs.
CLEAN_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}


class EmbeddedError(RuntimeError):
    """An embedded server cannot be prepared, started or found; the message says what to do or shows its log."""


class Account(NamedTuple):
    """Whose process a server becomes: the ids to switch to (None: stay), and a command to put before its own."""

    uid: int | None = None
    gid: int | None = None
    prefix: tuple[str, ...] = ()
    runs_as: tuple[int, int] | None = None

    def owner(self) -> tuple[int, int]:
        """User and group id its files must belong to."""
        return self.runs_as or (os.geteuid(), os.getegid())


def postgres_account(data_dir: Path, folder: Path, postgres: str) -> Account:
    """Postgres refuses to run as root; then it becomes the owner of its folder, or `postgres`, or `nobody`."""
    if os.geteuid() != 0:
        if folder.exists() and (owner := folder.stat().st_uid) != os.geteuid():
            raise EmbeddedError(
                f"{folder} belongs to user id {owner}, and this is {os.geteuid()}. Run as that user (or as root), "
                "or set DATA_DIR to another folder."
            )
        return Account()
    entry = _unprivileged_user(folder)
    data_dir.chmod(data_dir.stat().st_mode | 0o001)  # to pass through, not to list
    switched = Account(entry.pw_uid, entry.pw_gid, runs_as=(entry.pw_uid, entry.pw_gid))
    if _can_reach(switched, data_dir, postgres):
        return switched
    # A checkout in root's own home, say. Rather than open a private folder to everyone, let this one process pass.
    if setpriv := shutil.which("setpriv"):
        capable = Account(
            runs_as=(entry.pw_uid, entry.pw_gid),
            prefix=(
                *(setpriv, f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups"),
                *("--inh-caps=+dac_override", "--ambient-caps=+dac_override"),
                # access(2), by which Postgres looks for its own programs, disregards capabilities without this.
                "--securebits=+no_setuid_fixup",
            ),
        )
        if _can_reach(capable, data_dir, postgres):
            return capable
    raise EmbeddedError(
        f"Postgres does not run as root, and user {entry.pw_name} cannot reach {data_dir} or {Path(postgres).parent}. "
        "Run as an ordinary user, move the checkout, or set DATABASE_URL to a Postgres that is running."
    )


def _unprivileged_user(folder: Path) -> pwd.struct_passwd:
    if folder.exists() and (owner := folder.stat().st_uid) != 0:
        with suppress(KeyError):
            return pwd.getpwuid(owner)
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            return pwd.getpwnam(name)
    raise EmbeddedError(
        "Postgres does not run as root, and there is no user postgres or nobody to run it as."
    )


def _can_reach(account: Account, data_dir: Path, program: str) -> bool:
    # initdb finds its programs and files first, and here does nothing more.
    initdb = [str(Path(program).with_name("initdb")), "--show", f"--pgdata={data_dir}"]
    probe = [*account.prefix, "/bin/sh", "-c", 'cd "$1" && shift && exec "$@"', "sh", str(data_dir), *initdb]
    with suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(
            probe,
            capture_output=True,
            timeout=10,
            cwd="/",
            env=CLEAN_ENVIRONMENT,
            user=account.uid,
            group=account.gid,
            extra_groups=[] if account.uid is not None else None,
        )
        return done.returncode == 0
    return False
