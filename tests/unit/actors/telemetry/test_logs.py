"""What a process writes: our lines at the level asked for, the libraries' no lower than INFO, nobody's data."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from actors.telemetry.logs import ROOMS, configure


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Logging is the process's: put it back."""
    root = logging.getLogger()
    handlers, level, structured = root.handlers[:], root.level, structlog.get_config()
    rooms = {name: logging.getLogger(name).level for name in ROOMS}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, own in rooms.items():
        logging.getLogger(name).setLevel(own)
    structlog.configure(**structured)


def written(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_at_debug_libraries_still_keep_their_frames_to_themselves(capsys: pytest.CaptureFixture[str]) -> None:
    configure("DEBUG", json=True)
    for name in ("websockets.server", "asyncpg", "httpcore.http11"):
        logging.getLogger(name).debug('TEXT \'{"token": "..."}\'')
    logging.getLogger("gateway.sockets.hub").debug("ours")
    structlog.stdlib.get_logger("actors.region.shell").debug("region.decided", request_id="r1")
    assert [line["event"] for line in written(capsys)] == ["ours", "region.decided"]


def test_by_default_the_lines_of_each_request_are_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    configure("INFO", json=True)
    structlog.stdlib.get_logger("actors.telemetry.decision_log").debug("region.decided")
    structlog.stdlib.get_logger("actors.telemetry.decision_log").info("seen")
    assert [line["event"] for line in written(capsys)] == ["seen"]


@pytest.mark.parametrize("level", ["WARNING", "ERROR"])
def test_a_higher_level_holds_for_all(capsys: pytest.CaptureFixture[str], level: str) -> None:
    configure(level, json=True)
    logging.getLogger("actors.x").info("ours")
    logging.getLogger("asyncpg").info("theirs")
    assert written(capsys) == []


def test_private_fields_are_not_written_whoever_passes_them(capsys: pytest.CaptureFixture[str]) -> None:
    configure("INFO", json=True)
    structlog.stdlib.get_logger("gateway.x").info(
        "signed in", email="ann@example.org", lat=32.7, user_id="u1"
    )
    [line] = written(capsys)
    assert (line["email"], line["lat"], line["user_id"]) == ("[private]", "[private]", "u1")
