"""What a connection sends, cut into whole requests before the HTTP parser sees any of it.

The parser keeps what it is fed for as long as a head goes on, and starts a request with its head. Here lengths are
bounded first, and a request is handed on when its body is in: who sends half a request has cost a buffer and no more.
What is handed on has one reading only (no chunks, no folded lines, one length), so nobody behind can read it otherwise.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from domain.errors import HeadTooLarge, MalformedRequest, MethodNotAllowed, PayloadTooLarge, UriTooLong

CHUNK_LINE_BYTES = 256  # a chunk's size with its extensions
CHUNKS_LIMIT = 4_096  # of one body: each costs more to read than the byte that it may hold
TRAILER_BYTES = 8_192
BLANK_LINES_LIMIT = 4  # before a request (RFC 9112, 2.2)
METHOD_BYTES = 20

_BEGINNING = re.compile(rb"[A-Z]{1,19}(?: |\Z)")
_BARE_FEED = re.compile(rb"(?<!\r)\n")
_FIELD = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*\r\n"
_TARGET = rb"(?:(?:https?://[0-9A-Za-z.:\[\]-]+)?/[\x21-\x7e]*|\*)"
_HEAD = re.compile(rb"[A-Z]{1,19} " + _TARGET + rb" HTTP/1\.[01]\r\n(?:" + _FIELD + rb")*\r\n")
# The parser knows some more, and would call all others malformed.
_METHODS = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE"})
_TRAILER = re.compile(_FIELD)
_TELLING = re.compile(
    rb"\r\n(content-length|transfer-encoding|host|expect|upgrade|connection):[ \t]*([^\r]*?)[ \t]*(?=\r\n)",
    re.I,
)
_CHUNK = re.compile(rb"([0-9a-fA-F]{1,8})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?")


class Bounds(NamedTuple):
    """How long what may be."""

    line_bytes: int  # the request line
    head_bytes: int  # with the request line
    headers: int
    body_bytes: int


class Whole(NamedTuple):
    """A request with all of its body. `is_upgrade`: it asks to go on as a WebSocket."""

    data: bytes
    is_upgrade: bool


class _Head(NamedTuple):
    data: bytes
    is_upgrade: bool
    length: int
    chunks: _Chunks | None


class Frames:
    """One connection's bytes. `held`: how many wait here for the rest of their request, or for their turn."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._in = bytearray()
        self._scanned = self._blank_lines = 0
        self._head: _Head | None = None
        self._asks_to_go_on = False

    @property
    def held(self) -> int:
        head = self._head
        if head is None:
            return len(self._in)
        return len(head.data) + len(self._in) + (len(head.chunks.body) if head.chunks else 0)

    @property
    def in_body(self) -> bool:
        """Whether a head is in and its body is not."""
        return self._head is not None

    def asks_to_go_on(self) -> bool:
        """Whether the sender waits for a word before it sends the body (`Expect: 100-continue`); true once."""
        asks, self._asks_to_go_on = self._asks_to_go_on, False
        return asks

    def feed(self, data: bytes) -> None:
        """More bytes have come."""
        self._in += data

    def clear(self) -> None:
        """Forget all of it."""
        self._in, self._head = bytearray(), None

    def next(self) -> Whole | None:
        """The next whole request; None: more has to come. A `Refusal` is the end: what follows cannot be read."""
        if self._head is None and (head := self._whole_head()) is not None:
            self._head = self._read(head)
            self._scanned = self._blank_lines = 0
        if self._head is None:
            return None
        data, is_upgrade, length, chunks = self._head
        if chunks is not None:
            if not chunks.read(self._in):
                return None
            data = _with_length(data, len(chunks.body)) + chunks.body
        elif length:
            if len(self._in) < length:
                return None
            data += self._in[:length]
            del self._in[:length]
        self._head, self._asks_to_go_on = None, False
        return Whole(data, is_upgrade)

    def _whole_head(self) -> bytes | None:
        data, bounds = self._in, self._bounds
        while data.startswith(b"\r\n"):
            del data[:2]
            self._blank_lines += 1
            if self._blank_lines > BLANK_LINES_LIMIT:
                raise MalformedRequest()
        if not data:
            return None
        end = data.find(b"\r\n\r\n", max(0, self._scanned - 3))
        size = end + 4 if end >= 0 else len(data)
        if not _BEGINNING.match(data[:METHOD_BYTES]) and data != b"\r":
            raise MalformedRequest()
        if size > bounds.line_bytes and data.find(b"\r\n", 0, bounds.line_bytes + 2) < 0:
            raise UriTooLong(f"A request line has at most {bounds.line_bytes} bytes.")
        if size > bounds.head_bytes:
            raise HeadTooLarge(f"A request's head has at most {bounds.head_bytes} bytes.")
        if end < 0:
            if _BARE_FEED.search(data, max(0, self._scanned - 1)):
                raise MalformedRequest()
            self._scanned = len(data)
            return None
        head = bytes(data[:size])
        del data[:size]
        return head

    def _read(self, head: bytes) -> _Head:
        if head.count(b"\r\n") - 2 > self._bounds.headers:
            raise HeadTooLarge(f"A request has at most {self._bounds.headers} header lines.")
        method = head[: head.index(b" ")]
        if method == b"CONNECT":
            raise MethodNotAllowed("This server is no proxy.")
        if not _HEAD.fullmatch(head):
            raise MalformedRequest()
        if method not in _METHODS:
            raise MethodNotAllowed()
        told: dict[bytes, list[bytes]] = {}
        for name, value in _TELLING.findall(head):
            told.setdefault(name.lower(), []).append(value)
        is_new = head[: head.index(b"\r\n")].endswith(b"1.1")
        if len(told.get(b"host", ())) != 1 and (is_new or b"host" in told):
            raise MalformedRequest("A request names one Host.")
        length, chunks = self._body(told, is_new)
        if b"expect" in told:
            if [value.lower() for value in told[b"expect"]] != [b"100-continue"]:
                raise MalformedRequest("The only expectation that can be met is 100-continue.")
            head = _without(b"expect", head)
            self._asks_to_go_on = is_new and (length > 0 or chunks is not None)
        is_upgrade = False
        if b"upgrade" in told:
            wants = b"upgrade" in [
                part.strip().lower() for part in b",".join(told.get(b"connection", ())).split(b",")
            ]
            is_upgrade = wants and [value.lower() for value in told[b"upgrade"]] == [b"websocket"]
            if is_upgrade and (length or chunks is not None):
                raise MalformedRequest("An upgrade has no body.")
            if not is_upgrade:
                head = _without(b"upgrade", head)  # it may be ignored, and the parser would stop at it
        return _Head(head, is_upgrade, length, chunks)

    def _body(self, told: dict[bytes, list[bytes]], is_new: bool) -> tuple[int, _Chunks | None]:
        lengths, codings = told.get(b"content-length", []), told.get(b"transfer-encoding", [])
        if codings:
            if lengths or not is_new or [coding.lower() for coding in codings] != [b"chunked"]:
                raise MalformedRequest("The length of the body cannot be told.")
            return 0, _Chunks(self._bounds.body_bytes)
        if not lengths:
            return 0, None
        if len(lengths) > 1 or re.fullmatch(rb"[0-9]+", lengths[0]) is None:
            raise MalformedRequest("The length of the body cannot be told.")
        digits = lengths[0].lstrip(b"0")
        if len(digits) > 15 or int(digits or b"0") > self._bounds.body_bytes:
            raise PayloadTooLarge()
        return int(digits or b"0"), None


class _Chunks:
    """A chunked body, put together as it comes. `read` takes what it can from the front of a buffer."""

    def __init__(self, limit_bytes: int) -> None:
        self.body = bytearray()
        self._limit_bytes = limit_bytes
        self._left: int | None = None  # bytes of the present chunk; None: its size comes next
        self._chunks = self._trailer_bytes = 0
        self._is_last = False

    def read(self, data: bytearray) -> bool:
        """Whether the body is whole now, trailers and all, which are dropped."""
        at = 0
        try:
            while True:
                if self._left is not None:
                    took = min(self._left, len(data) - at)
                    self.body += data[at : at + took]
                    at, self._left = at + took, self._left - took
                    if self._left or len(data) - at < 2:
                        return False
                    if data[at : at + 2] != b"\r\n":
                        raise MalformedRequest("A chunk does not end where it said.")
                    at, self._left = at + 2, None
                    continue
                limit_bytes = TRAILER_BYTES if self._is_last else CHUNK_LINE_BYTES
                end = data.find(b"\r\n", at, at + limit_bytes + 2)
                if end < 0:
                    if len(data) - at > limit_bytes:
                        raise (
                            HeadTooLarge()
                            if self._is_last
                            else MalformedRequest("A chunk's size is too long.")
                        )
                    return False
                if not self._is_last:
                    self._size(data, at, end)
                elif end == at:
                    at += 2
                    return True
                else:
                    self._trailer(data, at, end + 2)
                at = end + 2
        finally:
            del data[:at]

    def _size(self, data: bytearray, start: int, end: int) -> None:
        match = _CHUNK.fullmatch(data, start, end)
        if match is None:
            raise MalformedRequest("A chunk has no size that can be read.")
        self._chunks += 1
        size = int(match[1], 16)
        if len(self.body) + size > self._limit_bytes or self._chunks > CHUNKS_LIMIT:
            raise PayloadTooLarge()
        if size:
            self._left = size
        else:
            self._is_last = True

    def _trailer(self, data: bytearray, start: int, end: int) -> None:
        self._trailer_bytes += end - start
        if self._trailer_bytes > TRAILER_BYTES:
            raise HeadTooLarge()
        if _TRAILER.fullmatch(data, start, end) is None:
            raise MalformedRequest()


def _without(name: bytes, head: bytes) -> bytes:
    return re.sub(rb"\r\n" + name + rb":[^\r]*(?=\r\n)", b"", head, flags=re.I)


def _with_length(head: bytes, length: int) -> bytes:
    return _without(b"transfer-encoding", head)[:-2] + b"content-length: %d\r\n\r\n" % length
