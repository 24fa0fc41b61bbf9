from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.gateway_world import World, running


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """A gateway on real parts in this process."""
    async with running() as made:
        yield made
