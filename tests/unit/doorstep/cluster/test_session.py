"""All processes of a cluster are found and ended, and no others."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from doorstep.cluster.session import MARK_ENV, Session, end_orphans, new_mark

# A leader with two children, one of which stands still; it tells their numbers.
LEADER = """
import os, signal, subprocess, sys
children = [subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"]) for _ in range(2)]
os.kill(children[0].pid, signal.SIGSTOP)
print(*(child.pid for child in children), flush=True)
signal.pause()
"""


@pytest.fixture
def cluster() -> Iterator[tuple[Session, list[int], subprocess.Popen[str]]]:
    mark = new_mark()
    leader = subprocess.Popen(
        [sys.executable, "-c", LEADER],
        env={**os.environ, MARK_ENV: mark},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert leader.stdout is not None
    pids = [int(word) for word in leader.stdout.readline().split()]
    yield Session(leader.pid, mark), pids, leader
    for pid in (leader.pid, *pids):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    leader.wait()
    leader.stdout.close()


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_everything_of_a_session_ends_frozen_or_not(
    cluster: tuple[Session, list[int], subprocess.Popen[str]],
) -> None:
    session, pids, leader = cluster
    assert session.end() == 3
    assert not any(map(lives, (leader.pid, *pids)))
    assert session.members() == []


def test_orphans_of_a_killed_leader_are_ended_by_what_was_written_down(
    cluster: tuple[Session, list[int], subprocess.Popen[str]], tmp_path: Path
) -> None:
    session, pids, leader = cluster
    session.record(tmp_path)
    leader.kill()
    leader.wait()
    assert all(map(lives, pids)), "they outlive it"
    assert end_orphans(tmp_path) == 2
    assert not any(map(lives, pids))
    assert end_orphans(tmp_path) == 0


def test_a_session_of_the_same_number_that_is_another_is_left_alone(
    cluster: tuple[Session, list[int], subprocess.Popen[str]], tmp_path: Path
) -> None:
    session, pids, leader = cluster
    Session(session.leader, new_mark()).record(tmp_path)
    assert end_orphans(tmp_path) == 0
    assert all(map(lives, (leader.pid, *pids)))


def test_who_ends_it_is_spared(cluster: tuple[Session, list[int], subprocess.Popen[str]]) -> None:
    session, pids, leader = cluster
    assert session.end(spare=leader.pid) == 2
    assert lives(leader.pid)
    assert not any(map(lives, pids))


def test_a_record_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    (tmp_path / "cluster.json").write_text("{")
    assert end_orphans(tmp_path) == 0
