"""Ray nodes as an operator starts them, several on this machine: `ray start --block` with the environment of
deploy/ray.env and a token, each on ports of its own."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from tests.integration.live import free_port

ROOT = Path(__file__).parents[2]
RAY = Path(sys.executable).with_name("ray")
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0
OBJECT_STORE_BYTES = 100_000_000


def node_environment() -> dict[str, str]:
    """What deploy/ray.env says."""
    lines = (ROOT / "deploy" / "ray.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


class RayNodes:
    """A cluster of its own; the first node started is its head. Not reached by who has no token."""

    def __init__(self) -> None:
        # Short, because sockets live in it whose names may not be long, and out of the way of other clusters.
        self.folder = Path(tempfile.mkdtemp(prefix="ray-"))
        # What this process has set for Ray (loopback, no token) is for servers with a cluster of their own.
        given = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        self.token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16)}
        self._environment = {**given, **node_environment(), **self.token}
        self.address = ""
        self._nodes: list[subprocess.Popen[bytes]] = []

    def start(self, **resources: float) -> int:
        """Start a node with one processor slot; returns its number. One after the other: they share the processor."""
        number, port = len(self._nodes), free_port()
        ports = {
            "dashboard-agent-listen-port": free_port(),
            "dashboard-agent-grpc-port": free_port(),
            "metrics-export-port": free_port(),
        }
        if self.address:
            role = [f"--address={self.address}"]
        else:
            role = ["--head", f"--port={port}", f"--temp-dir={self.folder}"]
            ports |= {"dashboard-port": free_port(), "ray-client-server-port": free_port()}
        with open(self.folder / f"node-{number}.log", "wb") as log:
            node = subprocess.Popen(
                [
                    str(RAY),
                    *("start", "--block", *role, "--num-cpus=1", f"--resources={json.dumps(resources)}"),
                    f"--object-store-memory={OBJECT_STORE_BYTES}",
                    *(f"--{name}={value}" for name, value in ports.items()),
                ],
                env=self._environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._nodes.append(node)
        self._wait(number)
        self.address = self.address or self._address(port)
        return number

    def _wait(self, number: int) -> None:
        end = time.monotonic() + START_TIMEOUT_S
        while "Ray runtime started" not in (log := self.log(number)):
            assert self._nodes[number].poll() is None, log
            assert time.monotonic() < end, log
            time.sleep(0.1)  # a process that starts can only be looked at

    def log(self, number: int) -> str:
        return (self.folder / f"node-{number}.log").read_text()

    def kill(self, number: int) -> float:
        """kill -9 the node's raylet, as when its machine fails; returns the monotonic time of it."""
        self._raylet(number).kill()
        return time.monotonic()

    def node_of(self, region_id: str) -> int | None:
        """The node that this region lives on; None while it lives nowhere."""
        for number in range(len(self._nodes)):
            for pid in self.workers(number, "ray::RegionActor"):
                logs = self.folder.glob(f"session_latest/logs/worker-*-{pid}.*")
                if any(f'"region_id": "{region_id}"' in path.read_text() for path in logs):
                    return number
        return None

    def workers(self, number: int, title: str) -> list[int]:
        """The node's worker processes with this title."""
        try:
            lines = {process.pid: process.cmdline() for process in self._raylet(number).children()}
        except (psutil.Error, StopIteration):
            return []
        return [pid for pid, line in lines.items() if line and line[0].startswith(title)]

    def _raylet(self, number: int) -> psutil.Process:
        children = psutil.Process(self._nodes[number].pid).children()
        return next(child for child in children if child.name() == "raylet")

    def _address(self, port: int) -> str:
        """Of the head: Ray shows itself at the machine's own address, not on the loopback interface."""
        for child in psutil.Process(self._nodes[0].pid).children():
            for argument in child.cmdline():
                if argument.startswith("--node-ip-address="):
                    return f"{argument.partition('=')[2]}:{port}"
        raise AssertionError(self.log(0))

    def stop(self) -> None:
        """End every process of every node."""
        everything: list[psutil.Process] = []
        for node in self._nodes:
            with contextlib.suppress(psutil.Error):
                everything += psutil.Process(node.pid).children(recursive=True)
        for node in self._nodes:
            node.kill()
        for process in everything:
            with contextlib.suppress(psutil.Error):
                process.kill()
        for node in self._nodes:
            node.wait(STOP_TIMEOUT_S)
