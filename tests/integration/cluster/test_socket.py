"""The driver socket's manners, over a real connection."""

from __future__ import annotations

import json

import pytest

from domain import protocol as wire
from tests.integration.live import Town, new_key

pytestmark = [pytest.mark.integration, pytest.mark.cluster]


async def test_three_bad_frames_in_a_row_close_the_socket(town: Town) -> None:
    driver = await town.driver()
    for nonsense in ("{", '{"type":"dance"}'):
        await driver.send_text(nonsense)
    await driver.ping()  # a good one in between: the count begins anew
    bad: tuple[str | bytes, ...] = ("[]", '{"type":"location","lat":NaN}', b"\xff\x00")
    for text in bad:
        await driver.send_text(text)
    await driver.wait_for(lambda: driver.closes)
    assert driver.closes == [1008]
    errors = [frame for frame in driver.frames if isinstance(frame, wire.Error)]
    assert [error.code for error in errors] == ["BAD_FRAME"] * 5


async def test_a_frame_over_the_limit_closes_the_socket(town: Town) -> None:
    driver = await town.driver()
    await driver.send_text(json.dumps({"type": "ack", "seq": 1, "padding": "x" * 16_384}))
    await driver.wait_for(lambda: driver.closes)
    assert driver.closes == [1009]


async def test_a_second_socket_takes_over(town: Town) -> None:
    driver = await town.driver()
    await driver.open()
    await driver.wait_for(lambda: driver.closes)
    assert driver.closes == [4001]
    await town.order()
    assert (await driver.offer()).tasks  # it comes on the second one


async def test_a_token_that_is_not_a_drivers_opens_nothing(town: Town) -> None:
    driver = await town.driver()
    await driver.close()
    driver.account.token = town.customer.token
    with pytest.raises(TimeoutError):
        await driver.open(deadline_s=1.5)
    assert driver.closes[-1] == 1008
    assert any(isinstance(frame, wire.Error) and frame.code == "FORBIDDEN" for frame in driver.frames)


async def test_every_message_with_an_id_gets_one_answer(town: Town) -> None:
    driver = await town.driver()
    unknown = new_key()
    for frame in (
        wire.OfferAccept("a", unknown),
        wire.OfferReject("b", unknown),
        wire.TaskArrive("c", unknown),
    ):
        answer = await driver.ask(frame)
        assert isinstance(answer, wire.Error)
        assert answer.code in ("OFFER_EXPIRED", "NOT_FOUND")
    driver.frames.clear()
    again = await driver.ask(wire.TaskPickup("b", unknown))  # the id of another message
    assert isinstance(again, wire.Error)
    assert again.code == "IDEMPOTENCY_KEY_REUSED"
