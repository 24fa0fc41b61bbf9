"""What a command says of a database that it cannot use: one line and exit status 1, whichever command it is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest

from persistence.migrate import head_revision
from tests.integration.live import free_port

pytestmark = pytest.mark.integration

COMMANDS = {
    "up": ("up",),
    "up-without-migrations": ("up",),
    "migrate": ("migrate",),
    "create-user": ("create-user", "somebody@example.org"),
    "export": ("offers", "export", "--out", "offers.csv"),
}


def doorstep(folder: Path, command: str, database_url: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "doorstep", *COMMANDS[command]],
        env={
            **os.environ,
            "DATABASE_URL": database_url,
            "REDIS_URL": "redis://127.0.0.1:1/0",
            "DATA_DIR": str(folder / "data"),
            "PORT": str(free_port()),
            "RUN_MIGRATIONS_ON_STARTUP": str(command == "up"),
        },
        cwd=folder,
        input="a pass phrase of some length\n",
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("command", COMMANDS)
async def test_a_schema_of_a_newer_version_is_refused(
    fresh_database_url: str, tmp_path: Path, command: str
) -> None:
    connection = await asyncpg.connect(fresh_database_url)
    await connection.execute("UPDATE alembic_version SET version_num = '9999_tomorrow'")
    await connection.close()
    done = doorstep(tmp_path, command, fresh_database_url)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"The schema is at 9999_tomorrow, which a newer version made; this one knows up to {head_revision()}."
        " Run the newer version, or one at least as new.\n"
    )


@pytest.mark.parametrize("command", sorted(COMMANDS.keys() - {"up", "migrate"}))
async def test_a_schema_that_was_never_made_is_refused(
    empty_database_url: str, tmp_path: Path, command: str
) -> None:
    done = doorstep(tmp_path, command, empty_database_url)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"The schema is at nothing, not {head_revision()}: run `doorstep migrate`.\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_a_database_that_is_not_there_is_one_line(tmp_path: Path, command: str) -> None:
    done = doorstep(tmp_path, command, f"postgresql://doorstep:secret@127.0.0.1:{free_port()}/doorstep")
    assert (done.returncode, done.stdout) == (1, "")
    [line] = done.stderr.splitlines()
    assert line.startswith("The database cannot be used: ")
    assert "secret" not in line


@pytest.mark.parametrize("command", COMMANDS)
def test_a_wrong_password_is_one_line(fresh_database_url: str, tmp_path: Path, command: str) -> None:
    user, rest = fresh_database_url.split(":", 2)[1].removeprefix("//"), fresh_database_url.rpartition("@")[2]
    done = doorstep(tmp_path, command, f"postgresql://{user}:wrong@{rest}")
    assert (done.returncode, done.stdout) == (1, "")
    [line] = done.stderr.splitlines()
    assert line.startswith("The database cannot be used: ")
