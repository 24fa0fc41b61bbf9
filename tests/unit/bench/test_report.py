"""What a benchmark writes, and the frames that its load generator builds by hand."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from bench.latency.accept import histogram
from bench.report import ratio, report
from bench.throughput.ingest import IngestOptions
from bench.throughput.load import text_frame


def test_a_report_has_what_measures_ask_for(tmp_path: Path) -> None:
    made = report("ingest", IngestOptions(sockets=3), {"pings_per_s": 12345.6, "geoadd_ratio": None})
    written = msgspec.json.decode(made.write(tmp_path / "out").read_bytes())
    assert written.keys() >= {"machine", "versions", "commit", "arguments", "figures"}
    assert written["arguments"]["sockets"] == 3
    assert written["figures"] == {"pings_per_s": 12345.6, "geoadd_ratio": None}
    assert "12,346" in made.table()


def test_a_ratio_needs_both_sides() -> None:
    assert ratio(3.0, 4.0) == 0.75
    assert ratio(3.0, None) is None
    assert ratio(None, 4.0) is None


def test_the_histogram_leaves_empty_ends_out() -> None:
    assert [line.split()[:4] for line in histogram([0.004, 0.004, 0.03])] == [
        ["<=", "5", "ms", "2"], ["<=", "10", "ms", "0"], ["<=", "20", "ms", "0"], ["<=", "50", "ms", "1"],
    ]  # fmt: skip
    assert histogram([]) == []


@pytest.mark.parametrize("size", [0, 1, 125, 126, 1000, 65535])
def test_frames_built_by_hand_are_frames(size: int) -> None:
    payload = b"x" * size
    reader = StreamReader()
    reader.feed_data(text_frame(payload))
    parsing = Frame.parse(reader.read_exact, mask=True)
    with pytest.raises(StopIteration) as done:
        next(parsing)
    frame = done.value.value
    assert (frame.opcode, bytes(frame.data), frame.fin) == (Opcode.TEXT, payload, True)
