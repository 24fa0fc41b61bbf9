"""What stays on record: every try at a check, how far away each step was, and no free text."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from domain.compliance import RULEBOOKS
from domain.orders.lifecycle import Role
from domain.orders.records import CheckOutcome
from domain.ports import AgeResult, Channel, IdResult, Verdict
from tests.rest.test_story import drive_to_door, take
from tests.support.gateway_world import REGION, Order, SocketClient, World

LIMIT = RULEBOOKS["TX"].age_attempts_limit


async def at_door(world: World) -> tuple[Order, SocketClient, str, dict[str, str]]:
    driver_id, client = await world.driver()
    order = await world.order("CONFIRMED")
    await drive_to_door(client, (await take(client))["task_id"])
    return order, client, driver_id, world.auth(driver_id, Role.DRIVER)


async def check(world: World, order: Order, headers: dict[str, str], token: str, **more: str) -> Any:
    body = {"method": "manual_entry", "vendor_token": token, "sober": True}
    url = f"/v1/orders/{order.id}/doorstep_id_check/submit"
    return await world.http.post(url, json=body, headers=headers | more)


async def events(world: World, order: Order) -> list[dict[str, Any]]:
    url = f"/v1/orders/{order.id}/dossier"
    found: list[dict[str, Any]] = (await world.http.get(url, headers=order.customer)).json()["events"]
    verdict = (await world.http.get(f"{url}/verify", headers=order.customer)).json()
    assert (verdict["ok"], verdict["length"]) == (True, len(found))
    return found


# -- at the door ------------------------------------------------------------------------------------------------------

CONTRADICTION = IdResult(Verdict.FAIL, True, True, True, "id-1")


@pytest.mark.parametrize(
    ("token", "code", "outcome"),
    [
        ("fake:review", "ID_CHECK_INCONCLUSIVE", CheckOutcome.REVIEW),
        ("fake:error", "VENDOR_UNAVAILABLE", CheckOutcome.UNAVAILABLE),
        ("fake:timeout", "VENDOR_UNAVAILABLE", CheckOutcome.UNAVAILABLE),
        ("contradiction", "ID_CHECK_INCONCLUSIVE", CheckOutcome.REVIEW),
    ],
)
async def test_a_check_that_comes_to_nothing_is_on_record_and_opens_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, token: str, code: str, outcome: CheckOutcome
) -> None:
    order, _, driver_id, headers = await at_door(world)
    if token == "contradiction":
        _vendor_says(world, monkeypatch, "check_id", CONTRADICTION)
    for number in range(2):  # each try
        assert (await check(world, order, headers, token)).json()["code"] == code
        kept = list(world.backend.store.checks.values())
        assert len(kept) == number + 1
    assert [(one.driver_id, one.order_id, one.passed, one.outcome) for one in kept] == [
        (driver_id, order.id, False, outcome)
    ] * 2
    assert not any(one.over_age or one.not_expired or one.name_matches for one in kept)
    told = [event for event in await events(world, order) if event["type"] == "ID_CHECK_INCONCLUSIVE"]
    assert [(one["status"], one["actor"], one["payload"]["outcome"]) for one in told] == [
        ("AT_DOOR", f"driver:{driver_id}", outcome)
    ] * 2
    refused = await world.http.post(f"/v1/orders/{order.id}/deliver/confirm", headers=headers)
    assert refused.json()["code"] == "WRONG_STATE"


async def test_an_inconclusive_check_has_one_answer_and_a_silent_vendor_none(world: World) -> None:
    order, _, _, headers = await at_door(world)
    for token, kept in (("fake:review", 1), ("fake:error", 3)):
        key = {"Idempotency-Key": token}
        first, again = [await check(world, order, headers, token, **key) for _ in range(2)]
        assert first.json()["code"] == again.json()["code"]
        assert len(world.backend.store.checks) == kept


async def test_passed_and_failed_checks_are_on_record_as_before(world: World) -> None:
    order, _, _, headers = await at_door(world)
    assert (await check(world, order, headers, "fake:expired")).json()["reason"] == "ID_EXPIRED"
    [kept] = world.backend.store.checks.values()
    assert (kept.passed, kept.outcome, kept.not_expired) == (False, CheckOutcome.FAIL, False)


def _vendor_says(world: World, monkeypatch: pytest.MonkeyPatch, question: str, answer: Any) -> None:
    async def says(**_: object) -> Any:
        return answer

    monkeypatch.setattr(world.services.identity, question, says)


@pytest.mark.parametrize("reference", ["", "Jane Doe, born 1999", "a" * 129, "é", "x\ny", "x\x00"])
async def test_a_vendors_reference_is_a_token_or_no_answer(
    world: World, monkeypatch: pytest.MonkeyPatch, reference: str
) -> None:
    _vendor_says(world, monkeypatch, "verify_age", AgeResult(Verdict.PASS, reference))
    order = await world.order()
    refused = await world.step(order, "verify_age", {"vendor_token": "fake:pass"})
    assert refused.json()["code"] == "VENDOR_UNAVAILABLE"
    if reference:
        assert reference not in json.dumps(msgspec.to_builtins(world.backend.store.attempts))


# -- at checkout ------------------------------------------------------------------------------------------------------


async def second_order(world: World, order: Order) -> Order:
    """Another one of the same customer."""
    read = (await world.http.get(f"/v1/orders/{order.id}", headers=order.customer)).json()
    items = [{name: item[name] for name in ("product_id", "quantity")} for item in read["items"]]
    body = {"store_id": read["store_id"], "items": items, "dropoff": read["dropoff"]}
    made = await world.http.post("/v1/orders", json=body, headers=order.customer)
    assert made.status_code == 201, made.text
    return Order(
        made.json()["id"],
        order.merchant_id,
        order.store_id,
        order.customer_id,
        order.customer,
        order.merchant,
    )


async def verify(world: World, order: Order, token: str, **headers: str) -> str | None:
    answer = (await world.step(order, "verify_age", {"vendor_token": token}, **headers)).json()
    code: str | None = answer.get("code")
    return code


@pytest.mark.parametrize("token", ["fake:fail", "fake:review"])
async def test_a_new_order_is_no_new_try(world: World, token: str) -> None:
    order = await world.order()
    for _ in range(LIMIT):
        assert await verify(world, order, token) == "AGE_NOT_VERIFIED"
        order = await second_order(world, order)
    assert await verify(world, order, "fake:pass") == "AGE_ATTEMPTS_EXHAUSTED"
    assert (await events(world, order))[-1]["type"] == "ORDER_CREATED"
    # Another person's tries are their own.
    assert await verify(world, await world.order(), "fake:pass") is None


async def test_tries_side_by_side_are_counted_before_the_vendor_is_asked(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0

    async def fails_at_leisure(**_: object) -> AgeResult:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0.02)  # the vendor's time, in which the others come in
        return AgeResult(Verdict.FAIL, f"age-{asked}")

    monkeypatch.setattr(world.services.identity, "verify_age", fails_at_leisure)
    first = await world.order()
    orders = [first] + [await second_order(world, first) for _ in range(7)]
    codes = await asyncio.gather(*(verify(world, order, "fake:fail") for order in orders))
    assert asked == LIMIT
    assert sorted(codes, key=str) == ["AGE_ATTEMPTS_EXHAUSTED"] * (8 - LIMIT) + ["AGE_NOT_VERIFIED"] * LIMIT


async def test_checks_that_pass_wait_for_their_turn(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody with many orders at once is asked for so many at a time, and refused none."""
    under_way = most = asked = 0

    async def passes_at_leisure(**_: object) -> AgeResult:
        nonlocal under_way, most, asked
        under_way, asked = under_way + 1, asked + 1
        most = max(most, under_way)
        await asyncio.sleep(0.02)
        under_way -= 1
        return AgeResult(Verdict.PASS, f"age-{asked}")

    monkeypatch.setattr(world.services.identity, "verify_age", passes_at_leisure)
    config = world.services.config
    patient = replace(config.limits, vendor_timeout_s=20.0)
    world.services.config = replace(config, limits=patient)
    first = await world.order()
    orders = [first] + [await second_order(world, first) for _ in range(7)]
    codes = await asyncio.gather(*(verify(world, order, "fake:pass") for order in orders))
    assert codes == [None] * 8
    assert most <= LIMIT


async def test_every_try_is_on_record(world: World) -> None:
    order = await world.order()
    for token in ("fake:error", "fake:timeout", "fake:review", "fake:fail", "fake:pass"):
        await verify(world, order, token)
    kept = sorted(world.backend.store.attempts.values(), key=lambda one: one.at_ms)
    assert [one.outcome for one in kept] == ["UNAVAILABLE", "UNAVAILABLE", "REVIEW", "FAIL", "PASS"]
    assert {(one.customer_id, one.order_id, one.min_age) for one in kept} == {
        (order.customer_id, order.id, 21)
    }
    told = [event for event in await events(world, order) if event["type"].startswith("AGE_")]
    assert [(one["type"], one["payload"]["attempt_id"]) for one in told] == [
        ("AGE_CHECK_INCONCLUSIVE", kept[2].attempt_id),
        ("AGE_CHECK_FAILED", kept[3].attempt_id),
        ("AGE_CHECK_PASSED", kept[4].attempt_id),
    ]


async def test_a_repeat_is_the_same_try(world: World) -> None:
    order = await world.order()
    key = {"Idempotency-Key": "k"}
    for _ in range(2 * LIMIT):
        assert await verify(world, order, "fake:error", **key) == "VENDOR_UNAVAILABLE"
    assert len(world.backend.store.attempts) == 1
    for _ in range(2 * LIMIT):
        assert await verify(world, order, "fake:fail", **{"Idempotency-Key": "l"}) == "AGE_NOT_VERIFIED"
    assert len(world.backend.store.attempts) == 2


async def test_a_silent_vendor_moves_no_version(world: World) -> None:
    order = await world.order()
    for _ in range(2):
        seen = {"If-Match": '"1"'}
        assert await verify(world, order, "fake:error", **seen) == "VENDOR_UNAVAILABLE"
    assert await verify(world, order, "fake:pass", **{"If-Match": '"1"'}) is None


# -- how far away -----------------------------------------------------------------------------------------------------

STEPS = [
    ("ARRIVED_AT_STORE", "store"),
    ("PICKED_UP", "store"),
    ("ARRIVED_AT_DOOR", "door"),
    ("ID_CHECK_INCONCLUSIVE", "door"),
    ("ID_CHECK_PASSED", "door"),
    ("REFUSED", "door"),
    ("ARRIVED_FOR_RETURN", "store"),
    ("RETURN_CONFIRMED", "store"),
]
DOOR_AWAY_M = 2905  # from the store


async def test_each_step_tells_how_far_from_its_place_it_was_taken(world: World) -> None:
    order, client, _, headers = await at_door(world)
    await check(world, order, headers, "fake:review")
    await check(world, order, headers, "fake:pass")
    await world.http.post(f"/v1/orders/{order.id}/refuse", json={"reason": "UNSAFE"}, headers=headers)
    back = (await client.receive("task.updated"))["task"]["task_id"]
    for step in ("arrive", "return/confirm"):
        assert (await world.http.post(f"/v1/tasks/{back}/{step}", headers=headers)).is_success
    told = {event["type"]: event["payload"] for event in await events(world, order)}
    for event, place in STEPS:
        away_m = told[event]["distance_m"]
        assert away_m == (0 if place == "store" else DOOR_AWAY_M), event
        assert type(away_m) is int
        assert 0 <= told[event]["position_age_ms"] < 60_000
        assert type(told[event]["position_age_ms"]) is int


async def test_a_place_that_is_not_known_is_said_to_be_unknown(world: World) -> None:
    order, _, _, headers = await at_door(world)
    await world.backend.start_region(REGION)  # which has heard of nobody yet
    await check(world, order, headers, "fake:pass")
    payload = (await events(world, order))[-1]["payload"]
    assert (payload["distance_m"], payload["position_age_ms"]) == (None, None)


# -- free text --------------------------------------------------------------------------------------------------------

TYPED = "Jane Roe of 5 Oak Lane was drunk"


def everywhere(world: World) -> str:
    """All that stays, leaves or is shown: dossiers, events, tasks, offers, answers, mission control."""
    store = world.backend.store
    kept = [
        store.dossiers,
        {channel: store.outbox[channel] for channel in Channel},
        store.offers,
        store.checks,
    ]
    told = [answer for answer, _ in store.answers.values()]
    frame = world.backend.regions[REGION].frame()
    return "".join(str(msgspec.to_builtins(part, builtin_types=(bytes,))) for part in (*kept, told, frame))


async def test_what_is_typed_goes_nowhere_but_into_its_note(world: World) -> None:
    order, _, driver_id, headers = await at_door(world)
    url = f"/v1/orders/{order.id}"
    body = {"reason": "INTOXICATED", "note": TYPED}
    assert (await world.http.post(f"{url}/refuse", json=body, headers=headers)).is_success
    assert (await events(world, order))[-2]["payload"]["reason"] == "INTOXICATED"
    called_off = await world.order("DRAFT")
    body = {"reason": "OTHER", "note": TYPED}
    assert (await world.step(called_off, "cancel", body)).is_success
    rejected = await world.order("PAYMENT_AUTHORIZED")
    desk = f"/v1/merchants/{rejected.merchant_id}/stores/{rejected.store_id}/orders/{rejected.id}/action"
    body = {"action": "reject", "reason": "OUT_OF_STOCK", "note": TYPED}
    assert (await world.http.post(desk, json=body, headers=rejected.merchant)).is_success
    assert "Jane" not in everywhere(world)
    [note] = (await world.http.get(f"{url}/notes", headers=headers)).json()
    assert (note["about"], note["author_id"], note["text"]) == ("refuse", driver_id, TYPED)


FREE = [TYPED, "nobody_home", "", None, 1, True, ["OTHER"]]


@pytest.mark.parametrize("reason", FREE)
async def test_a_reason_is_one_of_its_list(world: World, reason: Any) -> None:
    order, _, _, headers = await at_door(world)
    url = f"/v1/orders/{order.id}"
    for response in (
        await world.http.post(f"{url}/refuse", json={"reason": reason}, headers=headers),
        await world.step(order, "cancel", {"reason": reason}),
        await world.http.post(
            f"/v1/merchants/{order.merchant_id}/stores/{order.store_id}/orders/{order.id}/action",
            json={"action": "reject", "reason": reason},
            headers=order.merchant,
        ),
    ):
        assert (response.status_code, response.json()["code"]) == (422, "INVALID_REQUEST"), response.text
        assert TYPED not in response.text


async def test_an_offer_is_declined_for_a_reason_of_the_list(world: World) -> None:
    driver_id, client = await world.driver()
    await world.order("CONFIRMED")
    offer = await client.receive("offer")
    frame = {"type": "offer.reject", "id": "a", "offer_id": offer["offer_id"]}
    await client.send(frame | {"reason": TYPED})
    assert (await client.receive("error"))["code"] == "BAD_FRAME"
    task_id = offer["tasks"][0]["task_id"]
    headers = world.auth(driver_id, Role.DRIVER)
    typed = await world.http.post(f"/v1/tasks/{task_id}/reject", json={"reason": TYPED}, headers=headers)
    assert typed.status_code == 422
    await client.send(frame | {"reason": "TOO_FAR"})
    await client.receive("offer.rejected")
    assert world.backend.store.offers[offer["offer_id"]].reason == "TOO_FAR"


async def test_notes_are_for_their_authors_and_operators_who_may_erase_them(world: World) -> None:
    order = await world.order("CONFIRMED")
    url = f"/v1/orders/{order.id}/notes"
    key = {"Idempotency-Key": "k"}
    for _ in range(2):  # a repeat leaves one note
        assert (await world.step(order, "cancel", {"note": TYPED}, **key)).is_success
    _, operator = await world.account(Role.DISPATCHER)
    _, stranger = await world.account(Role.CUSTOMER)
    [note] = (await world.http.get(url, headers=order.customer)).json()
    assert (await world.http.get(url, headers=operator)).json() == [note]
    assert (await world.http.get(url, headers=order.merchant)).json() == []
    for headers in (order.merchant, stranger):
        assert (await world.http.delete(f"{url}/{note['id']}", headers=headers)).status_code == 404
    assert (await world.http.get(url, headers=stranger)).status_code == 404
    assert (await world.http.delete(f"{url}/{note['id']}", headers=order.customer)).status_code == 204
    assert (await world.http.get(url, headers=operator)).json() == []
    assert (await world.http.delete(f"{url}/{note['id']}", headers=operator)).status_code == 404
    assert len(await events(world, order)) > 0  # whose chain is whole


async def test_a_refused_step_leaves_no_note(world: World) -> None:
    order = await world.order("DRAFT")
    assert (await world.step(order, "cancel", {"note": TYPED}, **{"If-Match": '"9"'})).status_code == 412
    assert world.reads.typed == {}
