"""The end of a shift: said with a word on duty, over the socket or REST, and handed to the region."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest

from domain.errors import InvalidRequest
from domain.ground.times import instant
from domain.orders.lifecycle import Role
from gateway.sockets.positions import State, columns, shift_ms
from tests.support.gateway_world import DALLAS, World, until

NOW_MS = 1_750_000_000_000
DAY = timedelta(hours=24)


# -- the rule ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ahead", [timedelta(milliseconds=1), timedelta(hours=8), DAY])
def test_a_shift_ends_within_a_day(ahead: timedelta) -> None:
    moment, ms = instant(NOW_MS) + ahead, NOW_MS + ahead // timedelta(milliseconds=1)
    assert shift_ms(None, moment, NOW_MS) == (0, ms)
    assert shift_ms(moment, None, NOW_MS) == (ms, 0)


def test_an_end_that_is_not_said_is_not_known() -> None:
    assert shift_ms(None, None, NOW_MS) == (0, 0)


@pytest.mark.parametrize(
    "end",
    [
        instant(NOW_MS),
        instant(NOW_MS - 1),
        instant(NOW_MS) + DAY + timedelta(microseconds=1),
        datetime.min.replace(tzinfo=UTC),
        datetime.max.replace(tzinfo=UTC),
        datetime.max.replace(tzinfo=timezone(timedelta(hours=-14))),
        datetime.min.replace(tzinfo=timezone(timedelta(hours=14))),
    ],
)
def test_an_end_that_has_passed_or_is_too_far_is_refused(end: datetime) -> None:
    with pytest.raises(InvalidRequest, match="until must lie ahead, by at most 24 h"):
        shift_ms(None, end, NOW_MS)
    with pytest.raises(InvalidRequest, match="begins must lie ahead, by at most 24 h"):
        shift_ms(end, None, NOW_MS)


@pytest.mark.parametrize("hours", [2, 3])
def test_a_shift_begins_before_it_ends(hours: int) -> None:
    until = instant(NOW_MS) + timedelta(hours=2)
    with pytest.raises(InvalidRequest, match="begins must come before until"):
        shift_ms(instant(NOW_MS) + timedelta(hours=hours), until, NOW_MS)


def test_the_region_gets_a_column_of_it() -> None:
    states = [
        State("ann", "r", 1, 1, 32.0, -96.0, True, 0.0, NOW_MS, NOW_MS - 1),
        State("bob", "r", 1, 1, 32.0, -96.0, True, 0.0),
    ]
    batch = columns("gateway:0", states)
    assert batch.until_ms is not None
    assert batch.until_ms.dtype == np.int64
    assert batch.until_ms.tolist() == [NOW_MS, 0]
    assert batch.from_ms is not None
    assert batch.from_ms.tolist() == [NOW_MS - 1, 0]


# -- both ways to say it ----------------------------------------------------------------------------------------------


def ahead(world: World, hours: float) -> tuple[str, int]:
    """So many hours from now, as text and in ms."""
    at_ms = world.services.config.clock.now_ms() + round(hours * 3_600_000)
    return instant(at_ms).isoformat(), at_ms


def known(world: World, driver_id: str) -> int | None:
    """What the gateway would tell a region."""
    state = world.services.pings.last(driver_id)
    return None if state is None else state.until_ms


async def test_the_sockets_word_on_duty_says_until_when(world: World) -> None:
    driver_id, client = await world.driver(on_duty=False)
    text, at_ms = ahead(world, 8)
    await client.send({"type": "duty", "on": True, **DALLAS, "until": text})
    await until(lambda: known(world, driver_id) == at_ms)
    # A position moves the driver and not the end of the shift.
    await client.send({"type": "location", "lat": 32.784, "lng": -96.8, "at": text, "seq": 1})
    await until(lambda: (state := world.services.pings.last(driver_id)) and state.lat == 32.784)
    assert known(world, driver_id) == at_ms
    # A word on duty without it, as an older client says it: the end is not known.
    await client.send({"type": "duty", "on": True})
    await until(lambda: known(world, driver_id) == 0)


async def test_a_new_socket_begins_with_the_last_word(world: World) -> None:
    driver_id, headers = await world.account(Role.DRIVER)
    client = await world.connect(headers, on_duty=False)
    text, at_ms = ahead(world, 8)
    await client.send({"type": "duty", "on": True, **DALLAS, "until": text})
    await until(lambda: known(world, driver_id) == at_ms)
    again = await world.connect(headers, on_duty=False)
    await again.send({"type": "location", "lat": 32.784, "lng": -96.8, "at": text, "seq": 1})
    await until(lambda: (state := world.services.pings.last(driver_id)) and state.lat == 32.784)
    assert known(world, driver_id) == at_ms


@pytest.mark.parametrize(
    ("until_", "code"),
    [
        ("2020-01-01T00:00:00Z", "INVALID_REQUEST"),
        ("9999-12-31T23:59:59Z", "INVALID_REQUEST"),
        ("2030-01-01T00:00:00", "BAD_FRAME"),  # of no zone
        ("soon", "BAD_FRAME"),
        (1_750_000_000, "BAD_FRAME"),
    ],
)
async def test_a_bad_end_on_the_socket_is_refused_and_changes_nothing(
    world: World, until_: Any, code: str
) -> None:
    driver_id, client = await world.driver(on_duty=False)
    await client.send({"type": "duty", "on": True, **DALLAS, "until": until_})
    assert (await client.receive("error"))["code"] == code
    assert world.services.pings.last(driver_id) is None


@pytest.mark.parametrize("socket", [True, False])
async def test_duty_over_rest_says_until_when(world: World, socket: bool) -> None:
    driver_id, headers = await world.account(Role.DRIVER)
    if socket:
        await world.connect(headers, on_duty=False)
    path = f"/v1/drivers/{driver_id}/duty"
    text, at_ms = ahead(world, 23.9)
    body = {"on": True, **DALLAS}
    assert (await world.http.post(path, json=body | {"until": text}, headers=headers)).status_code == 200
    assert known(world, driver_id) == at_ms
    for bad in ("2020-01-01T00:00:00Z", ahead(world, 24.1)[0], "2030-01-01T00:00:00", "soon"):
        answer = await world.http.post(path, json=body | {"until": bad}, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (422, "INVALID_REQUEST"), bad
        assert known(world, driver_id) == at_ms
    assert (await world.http.post(path, json=body, headers=headers)).status_code == 200
    assert known(world, driver_id) == 0


async def test_the_end_reaches_the_region(world: World) -> None:
    _, client = await world.driver(on_duty=False)
    seen: list[int] = []
    send = world.backend.seen

    async def listen(region_id: str, batch: Any) -> int:
        seen.extend(batch.until_ms.tolist())
        return await send(region_id, batch)

    world.services.pings._send = listen
    text, at_ms = ahead(world, 1)
    await client.send({"type": "duty", "on": True, **DALLAS, "until": text})
    await until(lambda: seen)
    assert seen[0] == at_ms
