"""The files of a region's log: numbered segments in a folder, each with all that is needed to replay it by itself.

    a line of text, then blocks: length (4 bytes), CRC-32 (4), kind (1), payload
    H  one header, JSON            C  pieces of the checkpoint            E  entries (domain.region.log.journal)

Numbers are little-endian, the CRC is over kind and payload. A process that dies in the middle of a write leaves half a
block at the end, which is read as the end. Anything else that does not fit together is an error.
"""

from __future__ import annotations

import platform
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec
import numpy as np
from msgspec import Struct

from actors.region.checkpoint import CheckpointError, CutOff, code_hash, load
from domain.region.log.journal import Entry, decode
from domain.region.machine import Region

FORMAT = 1
MAGIC = b"doorstep region log\n"
HEADER, CHECKPOINT, ENTRY = b"H", b"C", b"E"

_FRAME = struct.Struct("<II")
_FILE = re.compile(r"(\d{1,12})\.log")


class LogError(Exception):
    """The log cannot be read; the message is a sentence that names the file."""


class CutShort(LogError):
    """The process ended while it wrote the segment's beginning: there is nothing to replay in it."""


class Header(Struct, frozen=True, kw_only=True):
    """What a segment says of itself. `life`: the region's life begins with it; else it goes on from the one before."""

    format: int = FORMAT
    region_id: str
    epoch: int
    life: bool
    now_ms: int  # server ms since the Unix epoch
    code: str = msgspec.field(default_factory=code_hash)  # see actors.region.checkpoint
    python: str = msgspec.field(default_factory=platform.python_version)
    numpy: str = np.__version__


def block(kind: bytes, payload: bytes) -> bytes:
    """One block as it stands in the file."""
    return _FRAME.pack(len(payload), zlib.crc32(payload, zlib.crc32(kind))) + kind + payload


def numbered(folder: Path) -> list[tuple[int, Path]]:
    """The segments in the folder, oldest first. `OSError` when it cannot be listed."""
    found = [(_FILE.fullmatch(path.name), path) for path in folder.iterdir()]
    return sorted((int(match[1]), path) for match, path in found if match)


def number_of(path: Path) -> int | None:
    """The number in a segment's name; None when it was given another name."""
    match = _FILE.fullmatch(path.name)
    return int(match[1]) if match else None


class Segment:
    """One file, read from its start: header and checkpoint at once, entries as they are asked for.

    `LogError` when it is no log, was written in another format, is damaged, or ends before its checkpoint does.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.torn = 0  # bytes at the end that are no whole block, known once all entries were read
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise LogError(f"{path} cannot be opened: {error.strerror}.") from None
        self._size = path.stat().st_size
        self._blocks = self._read_blocks(self._file)
        self._held: bytes | None = None  # the first entry, met while the checkpoint was read
        try:
            self.header = self._read_header()
        except LogError:
            self._file.close()
            raise

    def __enter__(self) -> Segment:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def region(self) -> Region:
        """The region as it was at the segment's start. Before `entries`, once."""
        pieces = list(self._checkpoint())
        if not pieces:
            raise CutShort(f"{self.path} ends before its checkpoint does: there is nothing to replay.")
        try:
            return load(pieces)
        except CutOff:
            raise CutShort(
                f"{self.path} ends before its checkpoint does: there is nothing to replay."
            ) from None
        except CheckpointError as error:
            made = self.header.code
            other = f" (written by code {made}, this is {code_hash()})" if made != code_hash() else ""
            raise LogError(f"{self.path}: {error}{other}.") from None

    def entries(self) -> Iterator[Entry]:
        """Every whole entry, in order. `LogError` for one that is damaged or that this code does not know."""
        number = 0
        while True:
            try:
                kind, payload = (ENTRY, self._held) if self._held is not None else next(self._blocks)
            except StopIteration:
                return
            except LogError as error:
                raise LogError(f"{error} Entry {number + 1} is the first that cannot be read.") from None
            self._held, number = None, number + 1
            if kind != ENTRY:
                raise LogError(
                    f"{self.path}: entry {number} is a block of kind {kind!r}, which has no place there."
                )
            try:
                yield decode(payload)
            except msgspec.MsgspecError as error:
                raise LogError(f"{self.path}: entry {number} cannot be read by this code: {error}.") from None

    def _read_header(self) -> Header:
        magic = self._file.read(len(MAGIC))
        if not MAGIC.startswith(magic):
            raise LogError(f"{self.path} is not a region's log.")
        kind, payload = next(self._blocks, (b"", b""))
        if kind != HEADER:
            raise CutShort(f"{self.path} ends before its header does: there is nothing to replay.")
        try:
            version = msgspec.json.decode(payload, type=_Version).format
            if version != FORMAT:
                raise LogError(f"{self.path} is in format {version} and this version reads format {FORMAT}.")
            return msgspec.json.decode(payload, type=Header)
        except msgspec.MsgspecError as error:
            raise LogError(f"{self.path}: its header cannot be read: {error}.") from None

    def _checkpoint(self) -> Iterator[bytes]:
        for kind, payload in self._blocks:
            if kind != CHECKPOINT:
                self._held = payload if kind == ENTRY else None
                return
            yield payload

    def _read_blocks(self, file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
        at = len(MAGIC)
        while at < self._size:
            frame = file.read(_FRAME.size + 1)
            length, crc = _FRAME.unpack_from(frame) if len(frame) > _FRAME.size else (0, 0)
            end = at + _FRAME.size + 1 + length
            if len(frame) <= _FRAME.size or end > self._size:
                break
            payload = file.read(length)
            kind = frame[_FRAME.size :]
            if zlib.crc32(payload, zlib.crc32(kind)) != crc:
                if end == self._size or self._zeros_from(file, at):
                    break
                raise LogError(f"{self.path} is damaged at byte {at}.")
            yield kind, payload
            at = end
        self.torn = self._size - at

    def _zeros_from(self, file: BinaryIO, at: int) -> bool:
        """Whether the rest is zeros: what a file system may leave after a power cut."""
        file.seek(at)
        while piece := file.read(2**20):
            if piece.strip(b"\0"):
                return False
        return True


class _Version(Struct):
    format: int
