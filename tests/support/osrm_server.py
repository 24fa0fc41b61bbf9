"""A small server that speaks OSRM's HTTP API over a made-up country, and fails in every way on demand."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from typing import Any
from urllib.parse import parse_qs, urlsplit

from domain.ground.geo import distance_m

# On every road one drives 8 m/s, and the way is half as long again as the line. North of 80 degrees there is no road;
# east of 10 degrees lies an island.
SPEED_MPS, DETOUR = 8.0, 1.5
NO_ROAD_LAT, ISLAND_LNG = 80.0, 10.0
Place = tuple[float, float]


class OsrmServer:
    """`url` is where it listens; `trouble` is one of `TROUBLES`, or None; `paths` are those asked for."""

    def __init__(self, url: str, max_table: int) -> None:
        self.url, self.max_table = url, max_table
        self.trouble: str | None = None
        self.paths: list[str] = []
        self.over = threading.Event()  # lets go of whoever was kept waiting

    def answer(self, path: str, query: dict[str, list[str]]) -> tuple[int, dict[str, Any]]:
        service, coordinates = path.split("/")[1], path.split("/")[4]
        places: list[Place] = []
        for text in coordinates.split(";"):
            east, north = text.split(",")
            places.append((float(north), float(east)))
        for index, (lat, _) in enumerate(places):
            if lat > NO_ROAD_LAT:
                message = f"Could not find a matching segment for coordinate {index}"
                return 400, {"code": "NoSegment", "message": message}
        return self._table(places, query) if service == "table" else self._route(places)

    def _table(self, places: list[Place], query: dict[str, list[str]]) -> tuple[int, dict[str, Any]]:
        if len(places) > self.max_table:
            return 400, {"code": "TooBig", "message": "Too many table coordinates"}
        sources = [places[int(index)] for index in query["sources"][0].split(";")]
        targets = [places[int(index)] for index in query["destinations"][0].split(";")]
        legs = [[drive(a, b) for b in targets] for a in sources]
        return 200, {
            "code": "Ok",
            "durations": [[leg and leg[0] for leg in row] for row in legs],
            "distances": [[leg and leg[1] for leg in row] for row in legs],
        }

    def _route(self, places: list[Place]) -> tuple[int, dict[str, Any]]:
        legs = [drive(a, b) for a, b in pairwise(places)]
        if None in legs:
            return 400, {"code": "NoRoute", "message": "Impossible route between points"}
        line = [[lng, lat] for lat, lng in places]
        route = {
            "duration": sum(leg[0] for leg in legs if leg),
            "distance": sum(leg[1] for leg in legs if leg),
            "geometry": {"type": "LineString", "coordinates": line},
        }
        return 200, {"code": "Ok", "routes": [route]}


def drive(a: Place, b: Place) -> tuple[float, float] | None:
    """Seconds and metres; northwards takes a tenth longer. None to and from the island."""
    if (a[1] > ISLAND_LNG) != (b[1] > ISLAND_LNG):
        return None
    metres = float(distance_m(*a, *b)) * DETOUR
    return metres / SPEED_MPS * (1.1 if b[0] > a[0] else 1.0), metres


def _garbage(_: Any) -> tuple[int, bytes]:
    return 200, b"<html>not what you think</html>"


def _short_row(body: dict[str, Any]) -> tuple[int, bytes]:
    body["durations"] = [row[:-1] for row in body["durations"]]
    return 200, json.dumps(body).encode()


def _negative(body: dict[str, Any]) -> tuple[int, bytes]:
    body["durations"] = [[-1.0 for _ in row] for row in body["durations"]]
    return 200, json.dumps(body).encode()


def _wrong_type(body: dict[str, Any]) -> tuple[int, bytes]:
    return 200, json.dumps(body | {"durations": "soon"}).encode()


def _down(_: Any) -> tuple[int, bytes]:
    return 503, b"upstream connect error"


def _refusal(_: Any) -> tuple[int, bytes]:
    return 400, b'{"code": "InvalidOptions", "message": "no"}'


# What may be wrong with an answer to /table. `silent` and `dripping` never come to an end.
BAD_ANSWERS: dict[str, Callable[[Any], tuple[int, bytes]]] = {
    "garbage": _garbage,
    "short_row": _short_row,
    "negative": _negative,
    "wrong_type": _wrong_type,
    "down": _down,
    "refusal": _refusal,
}
TROUBLES = (*BAD_ANSWERS, "silent", "dripping", "hanging_up")
DRIP_EVERY_S = 0.02


@contextmanager
def osrm_server(max_table: int = 100) -> Iterator[OsrmServer]:
    """The server, on a free port, for the time of the context."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            server.paths.append(self.path)
            if server.trouble == "silent":
                server.over.wait(30)
            elif server.trouble == "dripping":
                self._drip()
            elif server.trouble != "hanging_up":
                url = urlsplit(self.path)
                status, answer = server.answer(url.path, parse_qs(url.query))
                bad = BAD_ANSWERS.get(server.trouble or "")
                self._send(*(bad(answer) if bad else (status, json.dumps(answer).encode())))
                return
            self.close_connection = True

        def _send(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _drip(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "100000")
            self.end_headers()
            try:
                while not server.over.wait(DRIP_EVERY_S):
                    self.wfile.write(b" ")
                    self.wfile.flush()
            except OSError:
                pass  # they have gone

        def log_message(self, *_: object) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server = OsrmServer(f"http://127.0.0.1:{httpd.server_address[1]}", max_table)
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.over.set()
        httpd.shutdown()
        thread.join()
        httpd.server_close()
