"""What `up` does when the process that holds its cluster ends, is lost or falls silent. No Ray here: a stand-in says
what the real one would."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path

import msgspec
import psutil
import pytest

from actors.config import Limits
from doorstep.cluster.session import Session
from doorstep.cluster.supervisor import LOST_LIMIT, HeadError, Supervisor
from tests.unit.doorstep.cluster.test_bootstrapper import config

# Each start takes the next line of the plan, and starts a helper that would outlive it.
STAND_IN = """
import json, os, signal, subprocess, sys, time
start = json.loads(sys.stdin.readline())
plan = open(sys.argv[1]).read().splitlines()
open(sys.argv[1], "w").write("\\n".join(plan[1:]) or plan[0])
helper = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"], stdin=-3, stdout=-3)
open(sys.argv[2], "a").write(f"{os.getpid()} {helper.pid} {start['lost']} {os.environ.get('RAY_AUTH_TOKEN', '')}\\n")

def tell(kind, **fields):
    print(json.dumps({"type": kind, **fields}), flush=True)

if plan[0] == "refuse":
    tell("Failed", reason="There is no room.")
    sys.stdin.readline()
tell("Say", text="starting")
tell("Serving", config=start["config"], dashboard_url="127.0.0.1:1", gateway_hosts=[])
tell("Beat")
if plan[0] == "die":
    sys.exit(1)
if plan[0] == "lost":
    tell("Lost", reason="Ray's GCS has ended")
if plan[0] == "freeze":
    os.kill(os.getpid(), signal.SIGSTOP)
line = sys.stdin.readline()
tell("Say", text="draining")
"""


class Watched:
    """A supervisor over stand-ins, and what it said."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, *plan: str, address: str | None = None):
        self.folder, self.said = folder, list[str]()
        self.news = asyncio.Event()
        (folder / "head.py").write_text(STAND_IN)
        (folder / "plan").write_text("\n".join(plan))
        command = (str(folder / "head.py"), str(folder / "plan"), str(folder / "heads"))
        monkeypatch.setattr("doorstep.cluster.supervisor.HEAD", command)
        self.supervisor = Supervisor(
            config(limits=Limits(silent_s=1.0)),
            data_dir=folder,
            dashboard_port=1,
            address=address,
            node_kinds="auto",
            progress=self.say,
            given_up=asyncio.get_running_loop().create_future(),
        )

    def say(self, text: str) -> None:
        self.said.append(text)
        self.news.set()

    async def until_said(self, words: str) -> None:
        async with asyncio.timeout(30):
            while not any(words in text for text in self.said):
                self.news.clear()
                await self.news.wait()

    def heads(self) -> list[list[str]]:
        return [line.split() for line in (self.folder / "heads").read_text().splitlines()]

    def left(self) -> list[str]:
        """Processes of any of them that live."""
        return [pid for head in self.heads() for pid in head[:2] if lives(int(pid))]


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize(
    ("plan", "why"),
    [
        ("die", "its head has ended"),
        ("lost", "Ray's GCS has ended"),
        ("freeze", "its head has been silent for 2 s"),
    ],
)
async def test_a_lost_cluster_is_started_anew_and_nothing_stays_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plan: str, why: str
) -> None:
    watched = Watched(tmp_path, monkeypatch, plan, "serve")
    await watched.supervisor.start()
    await watched.until_said("serves again")
    assert f"the Ray cluster is lost ({why}): starting it anew" in watched.said
    first, second = watched.heads()
    assert set(watched.left()) == set(second[:2])
    assert (first[2], second[2]) == ("0", "1")
    await watched.supervisor.stop()
    assert watched.said[-1] == "draining"
    assert watched.left() == []
    assert Session.recorded(tmp_path) is None


async def test_one_that_is_lost_again_and_again_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Watched(tmp_path, monkeypatch, "lost")
    await watched.supervisor.start()
    async with asyncio.timeout(30):
        reason = await watched.supervisor.given_up
    assert reason == "The Ray cluster is lost again and again: Ray's GCS has ended."
    assert len(watched.heads()) == LOST_LIMIT + 1
    assert watched.left() == []
    await watched.supervisor.stop()


async def test_one_that_was_joined_is_not_started_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Watched(tmp_path, monkeypatch, "lost", address="there:1")
    await watched.supervisor.start()
    async with asyncio.timeout(30):
        assert await watched.supervisor.given_up == "The Ray cluster is lost: Ray's GCS has ended."
    await watched.supervisor.stop()
    assert [head[0] for head in watched.heads() if lives(int(head[0]))] == []
    for pid in watched.left():  # what runs in a cluster that was joined is not ended with it
        psutil.Process(int(pid)).kill()


async def test_a_start_that_is_refused_says_why_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Watched(tmp_path, monkeypatch, "refuse")
    with pytest.raises(HeadError, match="There is no room"):
        await watched.supervisor.start()
    await watched.supervisor.stop()
    assert watched.left() == []


async def test_the_token_is_in_a_file_and_the_record_before_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "of-another-cluster")
    watched = Watched(tmp_path, monkeypatch, "serve")
    await watched.supervisor.start()
    [head] = watched.heads()
    environment = psutil.Process(int(head[0])).environ()
    assert len(head) == 3, "no token of another cluster"
    assert environment["RAY_AUTH_MODE"] == "token"
    assert environment["RAY_AUTH_TOKEN_PATH"] == str(tmp_path / "ray_token")
    assert_secret(tmp_path / "ray_token", environment)
    session = Session.recorded(tmp_path)
    assert session is not None
    assert session.leader == int(head[0]) != os.getpid()
    await watched.supervisor.stop()


def assert_secret(token: Path, environment: dict[str, str]) -> None:
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert token.read_text() not in "\n".join(environment.values())


async def test_a_long_configuration_goes_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(tmp_path, monkeypatch, "serve")
    given = msgspec.structs.replace(watched.supervisor._config, tile_url="x" * 500_000)
    watched.supervisor._config = given
    assert (await watched.supervisor.start()).config == given
    await watched.supervisor.stop()
