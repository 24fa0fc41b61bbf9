"""The Locust file runs: everybody signs in, orders are placed, and drivers take them over their sockets."""

from __future__ import annotations

import asyncio
import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sim.demo.api import Api
from tests.integration.live import LiveServer

pytestmark = [pytest.mark.integration, pytest.mark.cluster]

ROOT = Path(__file__).parents[3]
RUN_S = 20  # of load: long enough for a first order to come to its door
# Every kind of user has done its part, on both transports.
WANTED = {
    ("POST", "/v1/auth/register"),
    ("POST", "/v1/orders"),
    ("POST", "/v1/merchants/.../action accept"),
    ("WS", "hello"),
    ("WS", "offer (since free)"),
    ("WS", "offer.accept"),
    ("WS", "task.pickup"),
    ("POST", "door: orders/doorstep_id_check/submit"),
}


async def _signed_in(server: LiveServer) -> str:
    """The token of an administrator."""
    account, api = await server.employ_operator(), Api(server.url)
    await api.renew(account)
    await api.close()
    return account.token


def test_a_short_run_of_all_users(server: LiveServer, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "locust", "-f", str(ROOT / "bench" / "locustfile.py"), "--headless"]
    command += ["-u", "9", "-r", "5", "-t", f"{RUN_S}s", "--host", server.url, "--csv", str(tmp_path / "run")]
    operator = asyncio.run(_signed_in(server))
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {"LOCUST_ADMIN_TOKEN": operator},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    with (tmp_path / "run_stats.csv").open() as file:
        rows = {(row["Type"], row["Name"]): row for row in csv.DictReader(file)}
    assert rows.keys() >= WANTED, WANTED - rows.keys()
    failed = {
        key: row["Failure Count"] for key, row in rows.items() if key[0] and row["Failure Count"] != "0"
    }
    assert not failed
