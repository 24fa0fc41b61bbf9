"""How commands end."""

from __future__ import annotations

import asyncio
import signal
import sys

import pytest

# A process that was started in a shell's background ignores Ctrl-C, and so would its children.
COMMAND = """
import asyncio, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from doorstep.cli.app import app
from doorstep.cli.terminal import run

async def work():
    print("started", flush=True)
    try:
        await asyncio.Event().wait()
    finally:
        await asyncio.sleep(0)
        print("stopped", flush=True)

@app.command()
def wait():
    run(work())

app(["wait"])
"""


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_what_was_started_is_stopped(number: signal.Signals, status: int) -> None:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", COMMAND, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    async with asyncio.timeout(30):
        assert await child.stdout.readline() == b"started\n"
        child.send_signal(number)
        out, errors = await child.communicate()
    assert (out, errors, child.returncode) == (b"stopped\n", b"", status)
