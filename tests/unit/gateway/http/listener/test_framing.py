"""What a connection sends, cut into requests: in whatever pieces it comes, and what is no request."""

from __future__ import annotations

import pytest

from domain.errors import Refusal
from gateway.http.listener.framing import CHUNKS_LIMIT, Bounds, Frames, Whole

BOUNDS = Bounds(line_bytes=200, head_bytes=1_000, headers=10, body_bytes=5_000)
HOST = b"Host: here\r\n"
GET = b"GET /v1/me HTTP/1.1\r\n" + HOST


def frames(data: bytes, step: int | None = None) -> list[Whole]:
    """The requests in this, given in pieces of `step` bytes."""
    made, found = Frames(BOUNDS), []
    for at in range(0, len(data), step or len(data)):
        made.feed(data[at : at + (step or len(data))])
        while (whole := made.next()) is not None:
            found.append(whole)
    return found


def code(data: bytes, step: int | None = None) -> str:
    with pytest.raises(Refusal) as refused:
        frames(data, step)
    return refused.value.code


def post(body: bytes, headers: bytes = b"") -> bytes:
    return b"POST /v1/orders HTTP/1.1\r\n" + HOST + headers + b"Content-Length: %d\r\n\r\n" % len(body) + body


def chunked(body: bytes, headers: bytes = b"") -> bytes:
    return b"POST /v1/orders HTTP/1.1\r\n" + HOST + headers + b"Transfer-Encoding: chunked\r\n\r\n" + body


@pytest.mark.parametrize("step", [None, 1, 7])
def test_requests_are_whole_in_whatever_pieces_they_come(step: int | None) -> None:
    sent = post(b"one") + GET + b"\r\n" + b"\r\n" + post(b"two" * 100)
    found = frames(sent, step)
    assert b"".join(whole.data for whole in found) == sent.replace(b"\r\n\r\n\r\n", b"\r\n\r\n")
    assert [whole.data[:4] for whole in found] == [b"POST", b"GET ", b"POST"]


@pytest.mark.parametrize("step", [None, 1, 5])
def test_a_chunked_body_is_put_together(step: int | None) -> None:
    body = b"3\r\nabc\r\n0a;name=value\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n"
    first, second = frames(chunked(body) + GET + b"\r\n", step)
    head, _, joined = first.data.partition(b"\r\n\r\n")
    assert joined == b"abc0123456789"
    assert b"content-length: 13" in head
    assert b"hunked" not in head
    assert b"Trailer" not in first.data
    assert second.data.startswith(b"GET")


@pytest.mark.parametrize("step", [None, 1, 300])
def test_heads_are_bounded_before_they_are_whole(step: int | None) -> None:
    assert code(b"GET /" + b"a" * 5_000, step) == "URI_TOO_LONG"
    assert code(b"GET /" + b"a" * 5_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", step) == "URI_TOO_LONG"
    assert code(GET + b"X: y\r\n" * 1_000, step) == "HEAD_TOO_LARGE"
    assert code(GET + b"X: " + b"y" * 5_000, step) == "HEAD_TOO_LARGE"
    assert code(GET + b"X: y\r\n" * 20 + b"\r\n", step) == "HEAD_TOO_LARGE"


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
        b"get / HTTP/1.1\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/1.1\n" + HOST,
        b"GET / HTTP/1.1\r\nHost: here\n\r\n",
        b"GET / HTTP/1.1\r\nHost: here\r\n folded\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : here\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\x00b\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n" + HOST + b"\r\n",
        b"GET / HTTP/1.1\r\n: no name\r\n" + HOST + b"\r\n",
        b"GET /\xc3\xa9 HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET / a HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET v1/me HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET ftp://there/ HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + b"host: there\r\n\r\n",
        b"\r\n" * 20,
        post(b"x", b"Content-Length: 1\r\n"),
        post(b"x", b"Content-Length: 2\r\n"),
        post(b"x", b"Transfer-Encoding: chunked\r\n"),
        chunked(b"0\r\n\r\n", b"Transfer-Encoding: identity\r\n"),
        chunked(b"0\r\n\r\n").replace(b"chunked", b"xchunked"),
        chunked(b"0\r\n\r\n").replace(b"chunked", b"gzip, chunked"),
        chunked(b"0\r\n\r\n").replace(b"HTTP/1.1", b"HTTP/1.0"),
        *(
            b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: " + length + b"\r\n\r\n"
            for length in (b"-1", b"+1", b"1 1", b"1,1", b"0x1", b"1.0", b"", b"\xb2")
        ),
        chunked(b"\r\n"),
        chunked(b"-1\r\n"),
        chunked(b"g\r\n"),
        chunked(b"0x3\r\nabc\r\n"),
        chunked(b"3\nabc\r\n0\r\n\r\n"),
        chunked(b"3\r\nabcd\r\n0\r\n\r\n"),
        chunked(b"3;" + b"e" * 300 + b"\r\nabc\r\n0\r\n\r\n"),
        chunked(b"000000000000001\r\na\r\n0\r\n\r\n"),
        chunked(b"0\r\nno trailer\r\n\r\n"),
        GET + b"Expect: a-miracle\r\n\r\n",
        GET + b"Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 3\r\n\r\nabc",
    ],
)
def test_what_has_no_one_meaning_is_no_request(data: bytes) -> None:
    assert code(data) == "MALFORMED_REQUEST"


@pytest.mark.parametrize(
    "data",
    [
        b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 5001\r\n\r\n",
        b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: " + b"9" * 500 + b"\r\n\r\n",
        chunked(b"ffffffff\r\n"),
        chunked(b"3e8\r\n" + b"x" * 1000 + b"\r\n" + b"fff\r\n"),
        chunked(b"1\r\nx\r\n" * (CHUNKS_LIMIT + 1)),
    ],
)
def test_a_body_is_bounded_before_it_is_there(data: bytes) -> None:
    assert code(data) == "PAYLOAD_TOO_LARGE"


def test_trailers_are_bounded() -> None:
    assert code(chunked(b"0\r\n" + b"T: t\r\n" * 5_000)) == "HEAD_TOO_LARGE"
    assert code(chunked(b"0\r\nT: " + b"t" * 20_000)) == "HEAD_TOO_LARGE"


def test_who_waits_for_a_word_is_told_to_go_on_once() -> None:
    made = Frames(BOUNDS)
    sent = post(b"abc", b"Expect: 100-Continue\r\n")
    made.feed(sent[:-3])
    assert made.next() is None
    assert made.asks_to_go_on()
    assert not made.asks_to_go_on()
    made.feed(sent[-3:])
    whole = made.next()
    assert whole is not None
    assert b"xpect" not in whole.data
    assert not made.asks_to_go_on()


def test_upgrades_that_are_not_to_a_websocket_are_no_upgrades() -> None:
    wanted = GET + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n"
    [whole] = frames(wanted)
    assert not whole.is_upgrade
    assert b"h2c" not in whole.data
    [whole] = frames(wanted.replace(b"h2c", b"WebSocket"))
    assert whole.is_upgrade


def test_this_is_no_proxy() -> None:
    assert code(b"CONNECT db:5432 HTTP/1.1\r\nHost: db:5432\r\n\r\n") == "METHOD_NOT_ALLOWED"
    assert code(b"BREW /pot HTTP/1.1\r\nHost: here\r\n\r\n") == "METHOD_NOT_ALLOWED"
    [whole] = frames(b"GET http://[::1]:8000/v1/me HTTP/1.1\r\nHost: here\r\n\r\n")
    assert whole.data.startswith(b"GET http://[::1]:8000/v1/me ")
