"""Writes a region's log: every message and the digest of what was decided, in segments that replay by themselves.

The region's loop encodes and hands over; a thread writes, rotates and deletes, so that a slow disk holds nobody up.
What goes wrong with the disk ends the recording, never the region. See docs/replay.md.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, NamedTuple

import msgspec
import structlog

from actors.region.checkpoint import Frozen, dump, freeze
from actors.region.segments import CHECKPOINT, ENTRY, HEADER, MAGIC, Header, block, numbered
from domain.region.log.journal import FAILED, Entry, digest, encode
from domain.region.machine import Region
from domain.region.messages import Message, Ready

log = structlog.get_logger()

MB = 1_000_000
FLUSH_S = 1.0  # wall seconds that an entry may wait to be written
BACKLOG_BYTES = 64 * MB  # waiting for the disk; more means that it does not keep up
STATE_BYTES = 16 * MB  # what a state that waits is taken for: it is not measured before it is written
CLOSE_TIMEOUT_S = 5.0


class _Start(NamedTuple):
    """A new segment begins with this."""

    header: Header
    state: Frozen


class Recorder:
    """`actors.region.pump.Journal` into `folder`, made when there is something to write. One per process and region."""

    def __init__(
        self, folder: Path, segment_bytes: int, total_bytes: int, backlog_bytes: int = BACKLOG_BYTES
    ) -> None:
        """A segment is ended after `segment_bytes` of entries; all together never take more than `total_bytes`."""
        self._segment_bytes = segment_bytes
        self._disk = _Disk(folder, total_bytes, backlog_bytes)
        self._region: Region | None = None
        self._written = 0  # bytes of entries in the present segment

    @property
    def recording(self) -> bool:
        """Whether what happens is still written."""
        return self._disk.failed is None

    def began(self, region: Region, now_ms: int) -> None:
        self._region = region
        self._start(now_ms, life=True)

    def stepped(self, now_ms: int, message: Message, ready: Ready) -> None:
        if self._disk.failed is not None:
            return
        self._enter(now_ms, message, lambda: digest(ready))
        if self._written >= self._segment_bytes:
            self._start(now_ms, life=False)

    def failed(self, now_ms: int, message: Message) -> None:
        """See `Journal`: a replay of the log fails at the same message."""
        if self._disk.failed is None:
            self._enter(now_ms, message, lambda: FAILED)

    def _enter(self, now_ms: int, message: Message, decided: Callable[[], bytes]) -> None:
        try:
            entry = block(ENTRY, encode(Entry(now_ms, message, decided())))
        except (
            Exception
        ) as error:  # whatever a message holds, it was stepped and is no reason to stop serving
            self._disk.fail(error)
            return
        self._disk.put(entry)
        self._written += len(entry)

    def close(self, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """Write what waits, for at most so many wall seconds, and stop recording."""
        self._disk.close(timeout_s)

    def _start(self, now_ms: int, *, life: bool) -> None:
        region = self._region
        if region is None or self._disk.failed is not None:
            return
        try:
            header = Header(region_id=region.id, epoch=region.epoch, life=life, now_ms=now_ms)
            self._disk.put(_Start(header, freeze(region)))
        except Exception as error:
            self._disk.fail(error)
        self._written = 0


def _size(what: bytes | _Start) -> int:
    return len(what) if isinstance(what, bytes) else STATE_BYTES


class _Disk:
    """The thread that writes. `put` never waits; what was put is in the file some `FLUSH_S` later at the latest."""

    def __init__(self, folder: Path, total_bytes: int, backlog_bytes: int) -> None:
        self._folder, self._total_bytes, self._backlog_bytes = folder, total_bytes, backlog_bytes
        self.failed: Exception | None = None
        self._waiting: deque[bytes | _Start] = deque()
        # Each is changed by one thread only, so that their difference needs no lock.
        self._given = self._taken = 0
        self._file: BinaryIO | None = None
        self._sizes: dict[Path, int] = {}  # of all segments, oldest first
        self._wake, self._closing = threading.Event(), False
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    def put(self, what: bytes | _Start) -> None:
        if self._closing:
            return
        self._waiting.append(what)
        self._given += _size(what)
        backlog = self._given - self._taken
        if backlog > self._backlog_bytes:
            self.fail(OSError(f"the disk does not keep up: some {backlog // MB} MB are waiting for it"))
        elif backlog > MB:
            self._wake.set()

    def fail(self, error: Exception) -> None:
        """Stop recording, for good."""
        if self.failed is None:
            self.failed = error
            log.error(
                "region.recording_stopped", folder=str(self._folder), error=f"{type(error).__name__}: {error}"
            )
        self._waiting.clear()
        self._wake.set()

    def close(self, timeout_s: float) -> None:
        self._closing = True
        self._wake.set()
        self._thread.join(timeout_s)

    # -- in the thread ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            closing = False
            while not closing and self.failed is None:
                self._wake.wait(FLUSH_S)
                self._wake.clear()
                closing = self._closing  # what was put before is written below
                self._write_waiting()
        except Exception as error:
            self.fail(error)
        finally:
            self._waiting.clear()
            if self._file is not None:
                self._file.close()

    def _write_waiting(self) -> None:
        entries: list[bytes] = []
        while self._waiting and self.failed is None:
            what = self._waiting.popleft()
            self._taken += _size(what)
            if isinstance(what, bytes):
                entries.append(what)
            else:
                self._write(b"".join(entries))
                entries = []
                self._start(what)
        self._write(b"".join(entries))

    def _start(self, start: _Start) -> None:
        if self._file is not None:
            self._file.close()
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        segments = numbered(self._folder)
        self._sizes = {path: path.stat().st_size for _, path in segments}
        path = self._folder / f"{segments[-1][0] + 1 if segments else 1:06d}.log"
        # Unbuffered: what is written is the kernel's at once and outlives this process.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._file = os.fdopen(descriptor, "wb", buffering=0)
        self._sizes[path] = 0
        self._write(MAGIC + block(HEADER, msgspec.json.encode(start.header)))
        dump(start.state, lambda piece: self._write(block(CHECKPOINT, piece)))

    def _write(self, data: bytes) -> None:
        if not data or self._file is None:
            return
        *older, present = self._sizes
        for path in older:
            if sum(self._sizes.values()) + len(data) <= self._total_bytes:
                break
            path.unlink(missing_ok=True)
            del self._sizes[path]
        if sum(self._sizes.values()) + len(data) > self._total_bytes:
            raise OSError(f"one segment alone takes more than {self._total_bytes} bytes")
        view = memoryview(data)
        while view:
            written = self._file.write(view) or 0
            self._sizes[present] += written
            view = view[written:]
