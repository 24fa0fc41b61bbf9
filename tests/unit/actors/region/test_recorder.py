"""A log holds what was stepped, stays within its bounds, is readable after a kill, and never hurts the region."""

from __future__ import annotations

import stat
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from actors.region.checkpoint import difference
from actors.region.pump import Pump
from actors.region.recorder import Recorder
from actors.region.segments import HEADER, MAGIC, CutShort, Header, LogError, Segment, block, numbered
from domain.region.log.journal import digest
from domain.region.machine import Region
from domain.region.messages import Ready
from tests.support import build
from tests.support.recording import ROOMY, Recorded, blocks, logs, record
from tests.support.shells import until
from tests.support.story import Story

ROOT = Path(__file__).parents[4]


def days(story: Recorded) -> None:
    """Twelve deliveries in two lives."""
    for n in range(12):
        story.delivered()
        if n == 5:
            story.restart()
            story.session.clear()


def agrees(path: Path) -> Region:
    """Replay a segment by hand; the region at its end."""
    with Segment(path) as segment:
        region = segment.region()
        for entry in segment.entries():
            assert digest(region.step(entry.now_ms, entry.message)) == entry.digest
    return region


def test_a_log_holds_each_step_and_a_life_begins_a_segment(tmp_path: Path) -> None:
    story = record(tmp_path / "tx-dfw", days)
    first, second = logs(tmp_path / "tx-dfw")
    assert [first.name, second.name] == ["000001.log", "000002.log"]
    with Segment(first) as one, Segment(second) as two:
        assert (one.header.epoch, one.header.life, one.header.region_id) == (1, True, "tx-dfw")
        assert (two.header.epoch, two.header.life) == (2, True)
    assert difference(agrees(second), story.region) is None
    assert agrees(first).state.counters["delivered"] == 6


def test_only_its_owner_can_read_it(tmp_path: Path) -> None:
    record(tmp_path / "tx-dfw", lambda story: story.delivered())
    [path] = logs(tmp_path / "tx-dfw")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_segment_ends_when_it_is_full_and_the_next_goes_on_from_there(tmp_path: Path) -> None:
    story = record(tmp_path, days, segment_bytes=1_000)
    paths = logs(tmp_path)
    assert len(paths) > 10
    assert [number for number, _ in numbered(tmp_path)] == list(range(1, len(paths) + 1))
    for path, following in pairwise(paths):
        with Segment(following) as segment:
            if not segment.header.life:
                assert difference(agrees(path), segment.region()) is None
    assert difference(agrees(paths[-1]), story.region) is None


def test_the_oldest_are_deleted_for_the_newest_to_fit(tmp_path: Path) -> None:
    record(tmp_path, days, segment_bytes=1_000, total_bytes=30_000)
    paths = logs(tmp_path)
    assert sum(path.stat().st_size for path in paths) <= 30_000
    assert paths[0].name > "000003.log"
    assert len(paths) > 2
    agrees(paths[0])
    agrees(paths[-1])


def test_the_next_process_goes_on_with_the_numbers_and_the_bound(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a segment")
    for _ in range(3):
        record(tmp_path, lambda story: story.delivered())
    sizes = [path.stat().st_size for path in logs(tmp_path)]
    assert [path.name for path in logs(tmp_path)] == ["000001.log", "000002.log", "000003.log"]
    record(tmp_path, lambda story: story.delivered(), total_bytes=2 * sizes[0] + 100)
    assert [path.name for path in logs(tmp_path)] == ["000003.log", "000004.log"]
    assert (tmp_path / "notes.txt").exists()


async def test_entries_are_written_without_being_asked_for(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, ROOMY, ROOMY)
    story = Recorded(recorder)
    story.delivered()
    await until(lambda: logs(tmp_path) != [] and blocks(logs(tmp_path)[0])[-1][0] == b"E")
    recorder.close()


# -- when it goes wrong -----------------------------------------------------------------------------------------------


def stopped(recorder: Recorder) -> None:
    """Tell a story to a recorder that cannot record it: nobody but the recorder minds."""
    story = Recorded(recorder)
    story.delivered()
    recorder.close()
    assert not recorder.recording
    story.delivered()
    story.restart()
    assert story.region.state.counters["delivered"] == 2


def test_a_folder_that_cannot_be_made_ends_the_recording_only(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    stopped(Recorder(tmp_path / "file" / "tx-dfw", ROOMY, ROOMY))


def test_a_segment_that_does_not_fit_at_all_ends_the_recording_only(tmp_path: Path) -> None:
    stopped(Recorder(tmp_path, ROOMY, 1_000))
    assert sum(path.stat().st_size for path in logs(tmp_path)) <= 1_000


def test_a_disk_that_does_not_keep_up_ends_the_recording_only(tmp_path: Path) -> None:
    stopped(Recorder(tmp_path, ROOMY, ROOMY, backlog_bytes=100))


def test_a_message_that_cannot_be_kept_ends_the_recording_only(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, ROOMY, ROOMY)
    recorder.stepped(0, Unkept(), Ready())  # type: ignore[arg-type]
    assert not recorder.recording
    stopped(recorder)


class Unkept:
    """No message at all."""


FULL_DISK = """
import resource, sys
from pathlib import Path
from actors.region.recorder import Recorder
from tests.unit.actors.region.test_recorder import stopped
resource.setrlimit(resource.RLIMIT_FSIZE, (2_500, 2_500))
stopped(Recorder(Path(sys.argv[1]), 10**7, 10**7))
"""


def test_a_full_disk_ends_the_recording_only_and_says_so_once(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert (run.stdout + run.stderr).count("region.recording_stopped") == 1
    [path] = logs(tmp_path)
    assert path.stat().st_size == 2_500, "as much as there was room for"
    agrees(path)


# -- what a killed process leaves -------------------------------------------------------------------------------------


def test_half_an_entry_at_the_end_is_the_end(tmp_path: Path) -> None:
    record(tmp_path, lambda story: story.delivered())
    [path] = logs(tmp_path)
    data, last = path.read_bytes(), len(blocks(path)[-1][1]) + 9
    with Segment(path) as segment:
        segment.region()
        whole = len(list(segment.entries()))
        assert segment.torn == 0
    for rest in (data[: len(data) - last + cut] for cut in range(1, last)):
        path.write_bytes(rest)
        assert entries(path) == (whole - 1, len(rest) - len(data) + last)
    for tail in (b"\0" * 5_000, b"\0", data[-last:-1] + b"?"):
        path.write_bytes(data + tail)
        assert entries(path) == (whole, len(tail))


def entries(path: Path) -> tuple[int, int]:
    """How many entries a segment has, and how many bytes are left over."""
    with Segment(path) as segment:
        segment.region()
        return len(list(segment.entries())), segment.torn


def test_a_beginning_that_is_not_whole_is_told_from_damage(tmp_path: Path) -> None:
    record(tmp_path, lambda story: story.delivered())
    [path] = logs(tmp_path)
    data = path.read_bytes()
    start = data.index(blocks(path)[2][1]) - 9  # the first piece of the checkpoint and what is before are cut
    for size in (0, 5, 20, 25, 60, start - 40, start - 1):
        path.write_bytes(data[:size])
        with pytest.raises(CutShort, match="there is nothing to replay"), Segment(path) as segment:
            segment.region()


def test_damage_is_named_with_the_entry(tmp_path: Path) -> None:
    record(tmp_path, lambda story: story.delivered())
    [path] = logs(tmp_path)
    data, found = bytearray(path.read_bytes()), blocks(path)
    third = [payload for kind, payload in found if kind == b"E"][2]
    data[data.index(third) + 5] ^= 1
    path.write_bytes(data)
    with pytest.raises(LogError, match=r"damaged at byte \d+\. Entry 3 is the first"):
        entries(path)


def test_another_format_and_no_log_are_sentences(tmp_path: Path) -> None:
    path = tmp_path / "1.log"
    header = Header(format=9, region_id="tx-dfw", epoch=1, life=True, now_ms=0)
    path.write_bytes(MAGIC + block(HEADER, msgspec.json.encode(header)))
    with pytest.raises(LogError, match="is in format 9 and this version reads format 1"):
        Segment(path)
    path.write_bytes(MAGIC + block(HEADER, b"{}"))
    with pytest.raises(LogError, match="its header cannot be read"):
        Segment(path)
    path.write_bytes(b"PK\x03\x04 something else altogether")
    with pytest.raises(LogError, match="is not a region's log"):
        Segment(path)
    with pytest.raises(LogError, match="cannot be opened: No such file"):
        Segment(tmp_path / "2.log")


def test_a_recorder_is_a_journal_of_a_pump(tmp_path: Path) -> None:
    story = Story(solving=False)
    story.order()
    recorder = Recorder(tmp_path, ROOMY, ROOMY)
    pump: Pump[str] = Pump(Region(build.image(), story.policy, story.now), story.now, recorder)
    pump.take(story.now, build.seen({"ann": build.STORE_AT}))
    for opened in story.opened.values():
        pump.take(story.now, opened)
    recorder.close()
    [path] = logs(tmp_path)
    assert entries(path) == (2, 0)
    assert difference(agrees(path), pump.region) is None
