"""Faults on real processes, on a demo of sixty drivers, as a table: `make chaos`. Slow."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.integration.faults import FAULTS, HEADER, Fault, Recorder, Seen, fill_disk, left_of
from tests.integration.live import LiveServer, Town

DISK = "2g"

pytestmark = [pytest.mark.integration, pytest.mark.cluster, pytest.mark.slow]


@pytest.fixture(scope="module")
def city() -> Iterator[LiveServer]:
    """A server with a city of its own, and databases that it looks after itself, on a disk of its own where this may
    be mounted."""
    folder = Path(tempfile.mkdtemp(prefix="doorstep-city-"))
    live = LiveServer(folder)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", os.fspath(folder)]
    mounted = subprocess.run(mount, capture_output=True).returncode == 0
    try:
        live.start("--demo", "--drivers", "60")
        yield live
        assert live.stop() == 0, live.log()
        assert left_of(folder) == []
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", os.fspath(folder)], check=True)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def table() -> Iterator[list[Seen]]:
    rows: list[Seen] = []
    yield rows
    print("\n" + "\n".join([HEADER, *(seen.row() for seen in rows)]))


@pytest.fixture
async def recorder(city: LiveServer) -> AsyncIterator[Recorder]:
    town = await Town.found(city.url)
    async with Recorder(city, town, await city.operator(town.api)) as recorder:
        yield recorder
    await town.api.close()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name.replace(" ", "-"))
async def test_a_fault_is_over_in_time_and_told(
    city: LiveServer, recorder: Recorder, table: list[Seen], fault: Fault
) -> None:
    if fault.do is fill_disk and not city.folder.is_mount():
        pytest.skip("no disk of its own can be mounted here, and nobody's other disk is to be filled")
    seen = await recorder.watch(fault)
    table.append(seen)
    assert max(seen.out_s.values()) <= fault.limit_s, seen.row()
    # Ray itself looks after a part that died; of what nobody noticed nobody is told.
    assert seen.told or fault.name.endswith("killed") or not any(seen.out_s.values())
