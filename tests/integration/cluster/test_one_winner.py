"""No two drivers ever hold a task: two hundred accepts of one offer at once, over sockets and REST."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from domain import protocol as wire
from tests.integration.live import Phone, Town, new_account, new_key

pytestmark = [pytest.mark.integration, pytest.mark.cluster]

RIVALS = 9


async def _rest(town: Town, phone: Phone, task_id: str) -> str:
    reply = await town.post(f"/v1/tasks/{task_id}/accept", phone.account)
    return "won" if reply.ok else reply.code


async def _socket(phone: Phone, offer_id: str) -> str:
    answer = await phone.ask(wire.OfferAccept(new_key(), offer_id), deadline_s=60)
    return answer.code if isinstance(answer, wire.Error) else "won"


async def test_two_hundred_accepts_have_one_winner(town: Town) -> None:
    winner = await town.driver()
    rivals = [await town.driver(away=0.2) for _ in range(RIVALS)]
    order_id = await town.order()
    offer = await winner.offer()
    task_id = offer.tasks[0].task_id
    phones = [winner, *rivals]
    attempts = []
    for i in range(200):
        phone = phones[i % len(phones)]
        attempts.append(_socket(phone, offer.offer_id) if i % 4 < 2 else _rest(town, phone, task_id))
    outcomes = Counter(await asyncio.gather(*attempts))
    assert outcomes["won"] == 1, outcomes
    assert set(outcomes) <= {"won", "OFFER_TAKEN", "OFFER_EXPIRED"}, outcomes
    assert outcomes.total() == 200
    order = await town.get(f"/v1/orders/{order_id}", town.customer)
    assert order["status"] == "ASSIGNED"
    held = await town.get(f"/v1/drivers/{winner.account.user_id}/task", winner.account)
    assert [task["task_id"] for task in held["tasks"]] == [task_id]
    assert (await town.dossier_types(order_id)).count("TASK_ASSIGNED") == 1


async def test_a_repeat_of_the_winning_message_gets_the_same_answer(town: Town) -> None:
    driver = await town.driver()
    await town.order()
    offer = await driver.offer()
    first = await driver.ask(wire.OfferAccept("same", offer.offer_id))
    driver.frames.clear()
    again = await driver.ask(wire.OfferAccept("same", offer.offer_id))
    assert isinstance(first, wire.OfferAccepted)
    assert again == first


async def test_a_stranger_cannot_touch_the_task(town: Town) -> None:
    driver, stranger = await town.driver(), await town.driver(away=0.2)
    order_id = await town.order()
    task = await driver.accept(await driver.offer())
    answer = await stranger.ask(wire.TaskArrive("mine", task.task_id))
    assert isinstance(answer, wire.Error)
    assert answer.code == "NOT_FOUND"
    await driver.to_the_door(task)
    assert (await stranger.check_id(order_id)).code == "NOT_FOUND"
    assert (await driver.check_id(order_id)).ok
    assert (await stranger.deliver(order_id)).code == "NOT_FOUND"
    admin = await town.api.sign_in(new_account("customer"))
    assert not (await town.post(f"/v1/orders/{order_id}/deliver/confirm", admin)).ok
    assert (await driver.deliver(order_id)).ok
