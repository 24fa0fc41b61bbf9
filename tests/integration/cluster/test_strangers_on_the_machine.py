"""Another user of the same machine: every port of Ray turns him away, no file is open to him, and what he sees of the
processes holds no secret."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import httpx
import psutil
import pytest

from tests.integration.live import LiveServer

pytestmark = [pytest.mark.integration, pytest.mark.cluster]

# Joins the cluster as a stranger would, who has found its port.
STRANGER = """
import ray, sys
ray.init(sys.argv[1], log_to_driver=False)
print("in:", ray.nodes())
"""


def listening(server: LiveServer, kind: str) -> list[int]:
    """The ports on which the server's processes of this name or title listen."""
    assert server._process is not None
    ports = []
    for process in psutil.Process(server._process.pid).children(recursive=True):
        if kind in (process.name(), "".join(process.cmdline()).strip()):
            ports += [each.laddr.port for each in process.net_connections("tcp") if each.status == "LISTEN"]
    return ports


def secrets_of(folder: Path) -> list[str]:
    """Everything in the data folder that must stay in it."""
    names = ("ray_token", "jwt_secret", "internal_token", "postgres_password", "redis_password")
    return [path.read_text().strip() for name in names if (path := folder / name).exists()]


async def test_the_port_for_jobs_asks_for_the_token(server: LiveServer) -> None:
    token = (server.folder / "ray_token").read_text()
    url = f"http://127.0.0.1:{server._environment['DASHBOARD_PORT']}"
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=30) as http:
        job = {"entrypoint": "id > /tmp/owned"}
        for path in ("/api/jobs/", "/nodes?view=summary", "/api/v0/actors"):
            assert (await http.get(path)).status_code == 401, path
        assert (await http.post("/api/jobs/", json=job)).status_code == 401
        wrong = {"Authorization": f"Bearer {token[::-1]}"}
        assert (await http.post("/api/jobs/", json=job, headers=wrong)).status_code == 403
        assert (await http.get("/api/jobs/", headers={"Authorization": f"Bearer {token}"})).status_code == 200
        # What the page in the browser asks first, to show its sign-in.
        assert (await http.get("/api/authentication_mode")).json() == {"authentication_mode": "token"}
        signed_in = await http.post("/api/authenticate", headers={"Authorization": f"Bearer {token}"})
        assert "HttpOnly" in signed_in.headers["set-cookie"]
        assert (await http.get("/api/jobs/")).status_code == 200


async def test_agents_ask_for_the_token_too(server: LiveServer) -> None:
    ports = listening(server, "ray::DashboardAgent") + listening(server, "ray::RuntimeEnvAgent")
    assert ports
    said = {}
    async with httpx.AsyncClient(trust_env=False, timeout=10) as http:
        for port in ports:
            try:
                said[port] = await http.get(f"http://127.0.0.1:{port}/api/jobs/")
            except httpx.HTTPError:
                continue  # speaks gRPC
    refused = [port for port, reply in said.items() if reply.status_code == 401]
    open_ports = [reply.text for reply in said.values() if reply.status_code == 200]
    assert refused, said  # one has a port of its own choice, the other may have found its port taken
    assert all(text.startswith("# HELP") for text in open_ports), "numbers for Prometheus and nothing else"


@pytest.mark.parametrize(
    "environment",
    [{"RAY_AUTH_MODE": "disabled"}, {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}],
    ids=["no-token", "wrong-token"],
)
def test_the_cluster_cannot_be_joined(server: LiveServer, environment: dict[str, str]) -> None:
    address = (server.folder / "ray_address").read_text().strip()
    others = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    with subprocess.Popen(
        [sys.executable, "-c", STRANGER, address],
        env={**others, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as stranger:
        try:
            out, _ = stranger.communicate(timeout=60)
            assert stranger.returncode != 0
        except subprocess.TimeoutExpired:  # it goes on knocking
            stranger.kill()
            out, _ = stranger.communicate()
    assert "in:" not in out


def test_no_file_is_open_to_others(server: LiveServer) -> None:
    open_to_others = (
        0o077 if os.geteuid() != 0 else 0o076
    )  # Postgres under root is another user, and passes through
    assert stat.S_IMODE(server.folder.stat().st_mode) & open_to_others == 0
    for path in server.folder.iterdir():
        mode = path.lstat().st_mode
        if path.name != "server.log":  # which the test itself writes
            assert stat.S_IMODE(mode) & 0o077 == 0, f"{path.name} has {mode:o}"


def test_no_process_shows_a_secret(server: LiveServer) -> None:
    assert server._process is not None
    secrets = secrets_of(server.folder)
    assert len(secrets) >= 3
    processes = [
        psutil.Process(server._process.pid),
        *psutil.Process(server._process.pid).children(recursive=True),
    ]
    lines = []
    for process in processes:
        try:
            lines.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    assert len(lines) > 5
    assert not [line for line in lines for secret in secrets if secret in line]
