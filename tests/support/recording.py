"""A story whose region is recorded, and ways to look at and to spoil what was written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from actors.region.pump import Journal
from actors.region.recorder import Recorder
from actors.region.segments import ENTRY, MAGIC, block
from domain.region.log.journal import Entry, decode, encode
from domain.region.messages import Message, PlanReady, Ready
from solver.registry import solve
from tests.support.story import Story

ROOMY = 10_000_000


class Recorded(Story):
    """A story that tells a journal of every step, as a pump does."""

    def __init__(self, journal: Journal, **policy: Any) -> None:
        self.journal = journal
        super().__init__(solving=False, **policy)

    def restart(self, down_s: float = 0.0) -> None:
        super().restart(down_s)
        self.journal.began(self.region, self.now)

    def step(self, message: Message) -> Ready:
        ready = super().step(message)
        self.journal.stepped(self.now, message, ready)
        if ready.solve is not None:
            self.step(PlanReady(solve(ready.solve)))
        return ready


def record(
    folder: Path,
    tell: Callable[[Recorded], object],
    *,
    segment_bytes: int = ROOMY,
    total_bytes: int = ROOMY,
) -> Recorded:
    """Record what `tell` does with a story. The log in `folder` is closed afterwards."""
    recorder = Recorder(folder, segment_bytes, total_bytes, backlog_bytes=10**12)  # a story is told at once
    story = Recorded(recorder)
    tell(story)
    assert recorder.recording
    recorder.close()
    return story


def logs(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.log"))


def blocks(path: Path) -> list[tuple[bytes, bytes]]:
    """The blocks of a whole file: kind and payload."""
    data, found = path.read_bytes()[len(MAGIC) :], []
    while data:
        end = 9 + int.from_bytes(data[:4], "little")
        found.append((data[8:9], data[9:end]))
        data = data[end:]
    return found


def tamper(path: Path, number: int, change: Callable[[Entry], Entry]) -> None:
    """Write the file again with one entry changed (the first is 1) and all checksums in order."""
    found = blocks(path)
    at = [i for i, (kind, _) in enumerate(found) if kind == ENTRY][number - 1]
    found[at] = (ENTRY, encode(change(decode(found[at][1]))))
    path.write_bytes(MAGIC + b"".join(block(kind, payload) for kind, payload in found))
