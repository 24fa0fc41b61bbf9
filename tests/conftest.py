"""Fixtures shared by all tests. Real services: embedded ones, unless DATABASE_URL and REDIS_URL name others."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import hypothesis
import pytest

from doorstep.embedded.services import Embedded, Services, temporary_database
from persistence.migrate import migrate
from tests.support.database import HastyPostgres, name_of, server_url

T = TypeVar("T")

pytest_plugins = ("tests.integration.fixtures",)

# A loaded machine is slow, not wrong; in CI the same examples every time.
hypothesis.settings.register_profile("local", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "local")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of whole servers come last and keep to one worker, where there are several: one cluster at a time, and one
    start of the server that many share."""
    for item in items:
        if _cluster(item):
            item.add_marker(pytest.mark.xdist_group("cluster"))
    items.sort(key=_cluster)


def _cluster(item: pytest.Item) -> int:
    """0 for a test without a cluster, 1 for one with its own, 2 for one of those that share one."""
    if item.get_closest_marker("cluster") is None:
        return 0
    return 2 if "server" in getattr(item, "fixturenames", ()) else 1


@pytest.fixture(scope="session")
def embedded_services() -> Iterator[Services]:
    """`database_url` and `redis_url` of servers to test against, started once for the session."""
    database_url, redis_url = os.environ.get("DATABASE_URL"), os.environ.get("REDIS_URL")
    if database_url and redis_url:
        yield _external(database_url, redis_url)
        return
    # Not pytest's own folder: it is closed to the user that Postgres becomes under root.
    folder = Path(tempfile.mkdtemp(prefix="doorstep-test-"))
    embedded = Embedded(folder)
    embedded.postgres = HastyPostgres(folder)
    try:
        with embedded:
            yield _external(database_url or embedded.database_owner_url, redis_url or embedded.redis_url)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _external(database_url: str, redis_url: str) -> Services:
    """Tests make databases and roles, and so are the owner throughout; `tests.support.database` has the server's."""
    owner_url = database_url.replace("+asyncpg", "", 1)
    return Services(owner_url, redis_url, owner_url)


@pytest.fixture(scope="session")
def redis_url(embedded_services: Services) -> str:
    """The session's Redis, shared by all tests: use keys of your own."""
    return embedded_services.redis_url


@pytest.fixture(scope="session")
def template(embedded_services: Services) -> Iterator[str]:
    """The name of a migrated database that those of tests are copies of."""
    with temporary(embedded_services) as url:
        with _loop_in_a_thread() as run:
            run(migrate(url, server_url(url)))
        yield name_of(url)


@pytest.fixture(scope="module")
def database_url(embedded_services: Services, template: str) -> Iterator[str]:
    """A migrated database of this module's own, dropped after it. Tests of one module share it."""
    with temporary(embedded_services, template) as url:
        yield url


@pytest.fixture
def fresh_database_url(embedded_services: Services, template: str) -> Iterator[str]:
    """A migrated database for this test alone (about 0.15 s)."""
    with temporary(embedded_services, template) as url:
        yield url


@pytest.fixture
def empty_database_url(embedded_services: Services) -> Iterator[str]:
    """A database without a schema for this test alone."""
    with temporary(embedded_services) as url:
        yield url


@contextmanager
def temporary(services: Services, template: str = "template1") -> Iterator[str]:
    """A copy of the database `template`; of an empty one if not said otherwise."""
    manager = temporary_database(services.database_owner_url, template=template)
    with _loop_in_a_thread() as run:
        url = run(manager.__aenter__())
        try:
            yield url
        finally:
            run(manager.__aexit__(None, None, None))


@contextmanager
def _loop_in_a_thread() -> Iterator[Callable[[Coroutine[Any, Any, T]], T]]:
    """Runs coroutines on a loop in a thread of its own: the test may be running one already."""
    loop = asyncio.new_event_loop()
    with ThreadPoolExecutor(1) as thread, closing(loop):
        yield lambda work: thread.submit(loop.run_until_complete, work).result()
