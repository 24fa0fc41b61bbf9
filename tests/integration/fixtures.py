"""One live server for all integration tests of a session: starting Ray takes seconds."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from doorstep.embedded.services import Services
from tests.conftest import temporary
from tests.integration.live import LiveServer, Town


@pytest.fixture(scope="session")
def server(embedded_services: Services, template: str) -> Iterator[LiveServer]:
    """A running server on a database of its own."""
    folder = Path(tempfile.mkdtemp(prefix="doorstep-live-"))
    with temporary(embedded_services, template) as database_url:
        live = LiveServer(
            folder, DATABASE_URL=database_url, REDIS_URL=embedded_services.redis_url, OPS_OPEN="true"
        )
        try:
            live.start()
            yield live
            assert live.stop() == 0, live.log()
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
async def town(server: LiveServer) -> AsyncIterator[Town]:
    """A store, a customer and (when asked for) drivers of this test's own."""
    town = await Town.found(server.url)
    yield town
    await town.leave()
