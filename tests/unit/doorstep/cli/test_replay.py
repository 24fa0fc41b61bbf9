"""`doorstep replay`: agreement is told from disagreement, and a bad log from both, in words."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from msgspec.structs import replace
from typer.testing import CliRunner

from actors.region.pump import Pump
from actors.region.recorder import Recorder
from actors.region.segments import ENTRY, HEADER, MAGIC, block
from domain.region.log.journal import Entry, decode
from domain.region.machine import Region
from domain.region.messages import Acked, DriversSeen, PlanReady, Tick
from domain.region.policy import RegionPolicy
from doorstep.cli.app import app
from doorstep.cli.replay import Disagreement, Replay, segments_of
from persistence.orders.memory import MemoryStore
from solver.registry import solve
from tests.support.build import NOW, seen
from tests.support.chance import Move, moves, play
from tests.support.examples import examples
from tests.support.recording import Recorded, blocks, logs, record, tamper


def deliveries(story: Recorded) -> None:
    """Four deliveries in two lives, with a minute between them."""
    for n in range(4):
        story.delivered()
        story.wait(60)
        if n == 1:
            story.restart()
            story.session.clear()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A region's folder with several segments."""
    folder = tmp_path / "logs" / "tx-dfw"
    record(folder, deliveries, segment_bytes=1_500)
    assert len(logs(folder)) > 4
    return folder


def replay(log: Path, *options: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of the command."""
    result = CliRunner().invoke(app, ["replay", str(log), *options])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def figures(output: str) -> dict[str, str]:
    return {line[:13].strip(): line[13:] for line in output.splitlines()}


def entries_of(path: Path) -> list[Entry]:
    return [decode(payload) for kind, payload in blocks(path) if kind == ENTRY]


def at_entry(path: Path, wanted: Callable[[Entry], bool]) -> int:
    """The number of the first entry of this kind."""
    return next(number for number, entry in enumerate(entries_of(path), 1) if wanted(entry))


def pinged(entry: Entry) -> bool:
    return isinstance(entry.message, DriversSeen)


def planned(entry: Entry) -> bool:
    return isinstance(entry.message, PlanReady) and entry.message.plan.assignments != ()


def drop(path: Path, kind: bytes, number: int) -> None:
    """Write the file again without one of its blocks."""
    found = blocks(path)
    del found[[i for i, (one, _) in enumerate(found) if one == kind][number]]
    path.write_bytes(MAGIC + b"".join(block(*one) for one in found))


def test_a_log_agrees_with_itself(log: Path) -> None:
    status, out, err = replay(log, "--solve")
    assert status == 0, out
    told = figures(out)
    assert told["segments"] == str(len(logs(log)))
    assert (told["lives"], told["offers made"], told["assignments"]) == ("2", "4", "4")
    assert told["plans"] == "4 solved again, 0 differ"
    assert told["server time"].startswith("0:04:0")
    assert len(told["decisions"]) == 32
    assert out.splitlines()[-1] == "every decision agrees"
    assert "segment 000001.log (1 of" in err


def test_a_segment_and_the_folder_above_can_be_named_too(log: Path) -> None:
    assert replay(logs(log)[2])[0] == 0
    assert replay(log.parent)[1].splitlines()[-2] == replay(log)[1].splitlines()[-2]


@examples(25)
@given(moves)
def test_every_life_replays(tmp_path_factory: pytest.TempPathFactory, some: list[Move]) -> None:
    folder = tmp_path_factory.mktemp("log")
    record(folder, lambda story: play(story, some), segment_bytes=1_000)
    run = Replay(solve, lambda _: None)
    run.run(segments_of(folder))
    assert run.tally.other_plans == []
    assert len(run.tally.epochs) == 1 + sum(move[0] == "restart" for move in some)


# -- disagreement -----------------------------------------------------------------------------------------------------


def test_a_changed_digest_is_named(log: Path) -> None:
    path = logs(log)[2]
    tamper(path, 2, lambda entry: replace(entry, digest=b"\1" * 8))
    status, out, _ = replay(log)
    assert status == 1
    assert "The first difference is in 000003.log, entry 2, at 2025-06-15T" in out
    assert "the log has decision 0101010101010101" in out
    assert "this code decides" in out


def test_a_changed_message_is_found_where_it_decides(log: Path) -> None:
    path = next(path for path in logs(log) if any(map(planned, entries_of(path))))
    number = at_entry(path, planned)
    tamper(path, number, lambda entry: replace(entry, now_ms=entry.now_ms + 1))
    status, out, _ = replay(log)
    assert status == 1
    assert f"in {path.name}, entry {number}, " in out
    assert "message PlanReady: plan" in out
    assert "push to ann:" in out


def test_a_message_that_this_code_does_not_know_is_named(log: Path) -> None:
    tamper(logs(log)[0], 1, lambda entry: replace(entry, message=Acked("ann", "seven")))  # type: ignore[arg-type]
    status, _, err = replay(log)
    assert status == 2
    assert "000001.log: entry 1 cannot be read by this code" in err


def test_a_message_on_which_this_code_fails_is_a_difference(log: Path) -> None:
    def misshapen(entry: Entry) -> Entry:
        assert isinstance(entry.message, DriversSeen)
        return replace(entry, message=replace(entry.message, seq=np.ones(3, np.int64)))

    path = next(path for path in logs(log) if any(map(pinged, entries_of(path))))
    tamper(path, at_entry(path, pinged), misshapen)
    status, out, _ = replay(log)
    assert status == 1
    assert "message DriversSeen: 1 drivers by gateway:0" in out
    assert "this code fails with IndexError" in out


def test_a_step_that_failed_fails_again(tmp_path: Path) -> None:
    """What a region died of can be had again from its log."""
    folder = tmp_path / "tx-dfw"
    recorder = Recorder(folder, 10_000_000, 10_000_000)
    store = MemoryStore()
    pump: Pump[str] = Pump(Region(store.open_region_now("tx-dfw", NOW), RegionPolicy(), NOW), NOW, recorder)
    pump.take(NOW, Tick())
    with pytest.raises(IndexError):
        pump.take(NOW + 1, replace(seen({"ann": (0.0, 0.0)}), seq=np.ones(3, np.int64)))
    recorder.close()
    status, _, told = replay(folder)
    assert status == 0
    assert "Entry 2 of 000001.log fails as it did: IndexError" in told


def test_an_entry_that_is_left_out_shows_where_the_next_segment_begins(log: Path) -> None:
    path = next(path for path in logs(log) if len(entries_of(path)) > 1)
    drop(path, ENTRY, -1)
    with pytest.raises(Disagreement) as caught:
        Replay(None, lambda _: None).run(segments_of(log))
    assert "000001.log ends in another state than 000002.log begins with: region." in str(caught.value)


def test_a_plan_that_the_solver_would_not_make_today_is_named(log: Path) -> None:
    path = next(path for path in logs(log) if any(map(planned, entries_of(path))))

    def other(entry: Entry) -> Entry:
        assert isinstance(entry.message, PlanReady)
        return replace(entry, message=PlanReady(replace(entry.message.plan, pairs=999)))

    tamper(path, at_entry(path, planned), other)
    assert replay(log)[0] == 0, "what a region does not look at decides nothing"
    status, out, _ = replay(log, "--solve")
    assert status == 1
    assert "every decision agrees, but 1 of 4 plans do not" in out
    assert "recorded plan 1 (task-1 to ann), today plan 1 (task-1 to ann)" in out


# -- what is missing or not whole -------------------------------------------------------------------------------------


def test_a_missing_segment_is_a_note(log: Path) -> None:
    logs(log)[2].unlink()
    status, out, err = replay(log, "--solve")
    assert status == 0, out
    assert "What was recorded between 000002.log and 000004.log is missing." in err


def test_the_oldest_being_gone_is_not_even_a_note(log: Path) -> None:
    logs(log)[0].unlink()
    status, _, err = replay(log)
    assert status == 0
    assert "missing" not in err


def test_a_torn_end_is_a_note(log: Path) -> None:
    path = logs(log)[-1]
    path.write_bytes(path.read_bytes()[:-3])
    status, _, err = replay(log)
    assert status == 0
    assert f"{path.name} ends in the middle of an entry" in err


def test_a_segment_without_its_checkpoint_is_left_out_of_a_folder(log: Path) -> None:
    path = log / "999999.log"
    path.write_bytes(logs(log)[0].read_bytes()[:200])
    status, _, err = replay(log)
    assert status == 0
    assert f"{path} ends before its checkpoint does" in err
    assert replay(path)[0] == 2


def test_other_code_is_a_note(log: Path) -> None:
    path = logs(log)[0]
    found = blocks(path)
    assert found[0][0] == HEADER
    found[0] = (HEADER, re.sub(rb'"code":"\w+"', b'"code":"0123456789ab"', found[0][1]))
    path.write_bytes(MAGIC + b"".join(block(*one) for one in found))
    status, _, err = replay(log)
    assert status == 0
    assert "Recorded with other code in domain/ (0123456789ab) than this" in err


def test_what_cannot_be_replayed_is_refused_in_a_sentence(log: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("Dear diary")
    (tmp_path / "logs" / "tx-hou").mkdir()
    (tmp_path / "logs" / "tx-hou" / "000001.log").write_bytes(b"")
    for path, sentence in (
        (tmp_path / "nowhere", "There is no file or folder"),
        (tmp_path / "empty", "There is no log in"),
        (tmp_path / "notes.txt", "is not a region's log"),
        (tmp_path / "logs", "the logs of several regions (tx-dfw, tx-hou): name one"),
        (tmp_path / "logs" / "tx-hou", "ends before its header does"),
    ):
        status, out, err = replay(path)
        assert (status, out) == (2, ""), path
        assert sentence in err
        assert "Traceback" not in err


def test_nothing_whole_in_a_folder_is_refused(tmp_path: Path) -> None:
    for n in (1, 2):
        (tmp_path / f"{n}.log").write_bytes(b"")
    status, _, err = replay(tmp_path)
    assert status == 2
    assert "No segment is whole enough" in err
