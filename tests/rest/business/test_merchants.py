"""A merchant from its application to its suspension, and the people who work for it; authority, keys, versions and
pages are the matrix's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from domain.marketplace.party import Job
from domain.orders.lifecycle import Role
from tests.support.database import server_url
from tests.support.gateway_world import DALLAS, DOOR, REGION, World, on_postgres

pytestmark = pytest.mark.integration

ABOUT = {"name": "Corner", "legal_name": "Corner Store LLC", "address": "2 Elm Street"}
Headers = dict[str, str]


@pytest.fixture
async def world(fresh_database_url: str) -> AsyncIterator[World]:
    async with on_postgres(server_url(fresh_database_url)) as made:
        yield made


class Desk:
    """Somebody who sends requests, each under a key of its own."""

    _number = 0

    def __init__(self, world: World, headers: Headers) -> None:
        self._world, self._headers = world, headers

    async def ask(
        self, method: str, path: str, body: Any = None, version: int | None = None
    ) -> tuple[int, Any]:
        Desk._number += 1
        headers = self._headers | {"Idempotency-Key": f"desk {Desk._number}"}
        if version is not None:
            headers["If-Match"] = f'"{version}"'
        answer: httpx.Response = await self._world.http.request(method, path, json=body, headers=headers)
        told = answer.json()
        return answer.status_code, told if answer.is_success else told["code"]


async def _applied(world: World) -> tuple[Desk, str]:
    """Somebody who has registered and applied: their desk, and the merchant's path."""
    await world.recruit("olga@example.org")
    user = await world.services.reads.user_by_email("olga@example.org")
    assert user is not None
    owner = Desk(world, world.auth(user.user_id, Role.MERCHANT))
    assert (await owner.ask("GET", "/v1/me"))[1]["merchant_id"] is None
    status, merchant = await owner.ask("POST", "/v1/merchants", ABOUT)
    assert (status, merchant["status"], merchant["reason"]) == (201, "APPLIED", None)
    told = (await owner.ask("GET", "/v1/me"))[1]
    assert (told["merchant_id"], told["job"]) == (merchant["id"], "OWNER")
    return owner, f"/v1/merchants/{merchant['id']}"


async def _opened(owner: Desk, path: str) -> dict[str, Any]:
    """What to order from a new store of the merchant."""
    store = {"name": "Corner", "region_id": REGION, "address": "2 Elm Street", **DALLAS}
    _, made = await owner.ask("POST", f"{path}/stores", store)
    ale = {"name": "Ale", "category": "alcohol", "price_cents": 500}
    _, product = await owner.ask("POST", f"{path}/stores/{made['id']}/products", ale)
    return {"store_id": made["id"], "items": [{"product_id": product["id"], "quantity": 1}], "dropoff": DOOR}


async def test_a_merchant_sells_while_it_is_approved(world: World) -> None:
    owner, path = await _applied(world)
    admin = Desk(world, (await world.account(Role.ADMIN))[1])
    customer = Desk(world, (await world.account(Role.CUSTOMER))[1])
    review = path.replace("/v1/", "/v1/admin/")
    assert await owner.ask("POST", "/v1/merchants", ABOUT) == (409, "ALREADY_EMPLOYED")
    permit = {"kind": "TOBACCO_PERMIT", "number": "T-1", "expires_at": "2099-01-01T00:00:00Z"}
    status, document = await owner.ask("POST", f"{path}/documents", permit)
    assert (status, document["number"], document["withdrawn_at"]) == (201, "T-1", None)
    expired = permit | {"expires_at": "2020-01-01T00:00:00Z"}
    assert await owner.ask("POST", f"{path}/documents", expired) == (422, "INVALID_REQUEST")
    basket = await _opened(owner, path)  # it may get ready
    assert await customer.ask("POST", "/v1/orders", basket) == (409, "MERCHANT_NOT_APPROVED")

    why = {"verdict": "ask_for_more", "reason": "DOCUMENTS_MISSING"}
    status, merchant = await admin.ask("POST", f"{review}/review", why, 1)
    assert (merchant["status"], merchant["reason"]) == ("INCOMPLETE", "DOCUMENTS_MISSING")
    assert await admin.ask("POST", f"{review}/review", {"verdict": "approve"}, 2) == (409, "WRONG_STATE")
    assert await owner.ask("POST", f"{path}/submit", None, 1) == (412, "VERSION_MISMATCH")
    assert (await owner.ask("POST", f"{path}/submit", None, 2))[1]["status"] == "APPLIED"
    for bad in ({"verdict": "reject"}, {"verdict": "approve", "reason": "OTHER"}):
        assert await admin.ask("POST", f"{review}/review", bad, 3) == (422, "INVALID_REQUEST")
    waiting = (await admin.ask("GET", "/v1/admin/merchants?status=APPLIED"))[1]["merchants"]
    assert [one["id"] for one in waiting] == [path.rpartition("/")[2]]
    assert (await admin.ask("POST", f"{review}/review", {"verdict": "approve"}, 3))[1]["reason"] is None
    status, order = await customer.ask("POST", "/v1/orders", basket)
    assert status == 201
    renamed = ABOUT | {"legal_name": "Another LLC"}
    assert await owner.ask("PUT", path, renamed, 4) == (409, "WRONG_STATE")
    assert (await owner.ask("PUT", path, ABOUT | {"name": "Corner 2"}, 4))[1]["name"] == "Corner 2"

    # What was paid before the suspension is not taken on after it.
    steps = (("verify_age", "fake:pass"), ("payment/authorize", "fake:ok"))
    for step, token in steps:
        done, _ = await customer.ask("POST", f"/v1/orders/{order['id']}/{step}", {"vendor_token": token})
        assert done == 200
    dispatcher = Desk(world, (await world.account(Role.DISPATCHER))[1])
    status, merchant = await dispatcher.ask("POST", f"{review}/suspend", {"reason": "COMPLAINTS"}, 5)
    assert (merchant["status"], merchant["reason"]) == ("SUSPENDED", "COMPLAINTS")
    action = f"{path}/stores/{basket['store_id']}/orders/{order['id']}/action"
    assert await owner.ask("POST", action, {"action": "accept"}) == (409, "MERCHANT_NOT_APPROVED")
    assert await customer.ask("POST", "/v1/orders", basket) == (409, "MERCHANT_NOT_APPROVED")
    assert await dispatcher.ask("POST", f"{review}/reinstate", None, 6) == (403, "FORBIDDEN")
    assert (await admin.ask("POST", f"{review}/reinstate", None, 6))[1]["status"] == "APPROVED"
    assert (await owner.ask("POST", action, {"action": "accept"}))[0] == 200


async def test_people_work_for_a_merchant_as_far_as_their_jobs_go(world: World) -> None:
    order = await world.order("PAYMENT_AUTHORIZED")
    path, owner = f"/v1/merchants/{order.merchant_id}", Desk(world, order.merchant)
    await world.recruit("clara@example.org")
    status, clara = await owner.ask("POST", f"{path}/staff", {"email": "Clara@example.org", "job": "CLERK"})
    assert (status, clara["job"]) == (201, "CLERK")
    clerk = Desk(world, world.auth(clara["id"], Role.MERCHANT))
    # She sees to orders, and to nothing else.
    assert [one["id"] for one in (await clerk.ask("GET", f"{path}/orders"))[1]["orders"]] == [order.id]
    assert [one["id"] for one in (await clerk.ask("GET", "/v1/orders"))[1]["orders"]] == [order.id]
    assert (await clerk.ask("GET", f"/v1/orders/{order.id}"))[0] == 200
    hours = f"/v1/stores/{order.store_id}/hours"
    assert await clerk.ask("PUT", hours, {"hours": []}) == (403, "FORBIDDEN")
    action = f"{path}/stores/{order.store_id}/orders/{order.id}/action"
    assert (await clerk.ask("POST", action, {"action": "accept"}))[0] == 200
    assert (await clerk.ask("POST", action, {"action": "ready"}))[0] == 200
    actors = {entry.actor for entry in await world.services.reads.dossier(order.id)}
    assert f"merchant:{clara['id']}" in actors, "the dossier says who it was"
    # Nobody else's: the account is hers, the merchant is not.
    _, stranger = await world.account(Role.MERCHANT)
    for role in (Role.MERCHANT, Role.CUSTOMER):
        await world.account(role)
    for who in (stranger,):
        found = await Desk(world, who).ask("GET", f"{path}/staff")
        assert found == (404, "NOT_FOUND")
        taken = {"email": "clara@example.org", "job": "CLERK"}
        own = (await Desk(world, who).ask("GET", "/v1/me"))[1]["merchant_id"]
        assert await Desk(world, who).ask("POST", f"/v1/merchants/{own}/staff", taken) == (
            409,
            "ALREADY_EMPLOYED",
        )
    nobody = {"email": "nobody@example.org", "job": "CLERK"}
    assert await owner.ask("POST", f"{path}/staff", nobody) == (404, "NOT_FOUND")
    # She parts with nobody but herself.
    me = (await owner.ask("GET", "/v1/me"))[1]["user_id"]
    assert await clerk.ask("DELETE", f"{path}/staff/{me}", None, 1) == (403, "FORBIDDEN")
    assert (await clerk.ask("DELETE", f"{path}/staff/{clara['id']}", None, 1))[0] == 200
    assert (await owner.ask("GET", f"{path}/staff"))[1]["staff"][0]["job"] == "OWNER"
    assert await owner.ask("GET", f"{path}/staff/{clara['id']}") == (404, "NOT_FOUND")


async def test_a_merchant_keeps_an_owner_whoever_goes_at_once(world: World) -> None:
    merchant_id, headers = await world.account(Role.MERCHANT)
    path, one = f"/v1/merchants/{merchant_id}/staff", Desk(world, headers)
    assert await one.ask("DELETE", f"{path}/{merchant_id}", None, 1) == (409, "LAST_OWNER")
    assert await one.ask("PUT", f"{path}/{merchant_id}", {"job": "CLERK"}, 1) == (409, "LAST_OWNER")
    for _ in range(5):
        other = Desk(world, await world.colleague(merchant_id, Job.OWNER))
        mine, theirs = (await one.ask("GET", "/v1/me"))[1], (await other.ask("GET", "/v1/me"))[1]
        answers = await asyncio.gather(
            one.ask("DELETE", f"{path}/{mine['user_id']}", None, 1),
            other.ask("DELETE", f"{path}/{theirs['user_id']}", None, 1),
        )
        assert sorted(status for status, _ in answers) == [200, 409]
        one = other if answers[0][0] == 200 else one
    left = (await one.ask("GET", path))[1]["staff"]
    assert [member["job"] for member in left] == ["OWNER"]
