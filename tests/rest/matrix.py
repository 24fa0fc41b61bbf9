"""What the generated tests of routes share: a world in which everything that a path can name is there and somebody's,
and requests that are as they should be, made from OpenAPI."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from msgspec import Struct

from domain.marketplace.party import Job
from domain.orders.lifecycle import Role
from gateway.app import interface
from gateway.http.policy import Door
from gateway.rest.kit.routes import Declared
from gateway.rest.table import DECLARED
from persistence.reads.views import OrderNote
from tests.support.gateway_world import DALLAS, INTERNAL_TOKEN, REGION, World, on_postgres

DOCUMENT = interface()
# Of the interface; files and pages have no authority to prove.
SHOWN = [one for one in DECLARED if one.is_shown]
STREAMS = {"ops_stream"}  # stays open
QUERY = {"region_id": REGION, "from": "32.78,-96.8", "to": "32.80,-96.78"}
INTERNAL = {"X-Internal-Token": INTERNAL_TOKEN}
Headers = dict[str, str]
# Who can be taken on by a merchant: by the example of the route, and once more for each other row of its list.
RECRUITS = ("clerk", "member", "second", "third")
# For who works for no merchant yet, or has not applied to drive.
NEWCOMERS = {"merchants_apply": Role.MERCHANT, "driver_reviews_apply": Role.DRIVER}


class Cast(Struct):
    """Accounts of every role, ids by their names in paths, and whose each is."""

    world: World
    ids: dict[str, str]
    owners: dict[Role, Headers]  # everything in `ids` is theirs
    strangers: dict[Role, Headers]
    colleagues: dict[Job, Headers]  # of the merchant's owner
    newcomers: dict[str, list[Headers]]  # by the route that is theirs

    async def call(self, route: Declared, headers: Headers | None = None, **changes: Any) -> httpx.Response:
        """The route as it should be called, but for the `changes`: of `body`, of the query."""
        operation = DOCUMENT["paths"][route.path][route.method.lower()]
        path = route.path.format(**self.ids)
        body = changes.pop("body", self.body(route))
        query = {
            parameter["name"]: QUERY[parameter["name"]]
            for parameter in operation.get("parameters", ())
            if parameter["in"] == "query" and parameter.get("required")
        }
        sent = dict(headers or {})
        content = None
        if body is not None and not route.policy.form:
            content, sent["Content-Type"] = json.dumps(body).encode(), "application/json"
        data = {"username": "ann@example.org", "password": "x"} if route.policy.form else None
        return await self.world.http.request(
            route.method, path, params=query | changes, headers=sent, content=content, data=data
        )

    def body(self, route: Declared) -> Any:
        """The example of its body, about what is there."""
        operation = DOCUMENT["paths"][route.path][route.method.lower()]
        content = operation.get("requestBody", {}).get("content", {})
        return (
            _about(content["application/json"]["example"], self.ids)
            if "application/json" in content
            else None
        )

    def another(self, route: Declared, name: str) -> Any:
        """The same for another row: of this person, where it is about one."""
        body = self.body(route)
        return body | {"email": f"{name}@example.org"} if isinstance(body, dict) and "email" in body else body

    def of(self, route: Declared) -> Headers:
        """Who may call the route, and has what it is about."""
        roles = route.policy.roles
        if route.name in NEWCOMERS:
            return self.newcomers[route.name][-1]
        if roles is Door.INTERNAL:
            return INTERNAL
        if roles is Door.METRICS:
            return {"Authorization": f"Bearer {INTERNAL_TOKEN}"}
        if isinstance(roles, Door):
            return self.owners[_OWNERS.get(route.policy.owner, Role.ADMIN)]
        return self.owners[roles[0]]


# Whose the thing is, where any role may ask.
_OWNERS = {
    "order_id": Role.CUSTOMER,
    "note_id": Role.MERCHANT,
    "driver_id": Role.DRIVER,
    "offer_id": Role.DRIVER,
}


def altered(body: Any) -> Any:
    """A body that is as good as this one and asks for something else; None where there is none."""
    if isinstance(body, list):
        return [*body, *body]
    for name, value in body.items():
        if name == "name":
            return body | {name: f"{value} too"}
        if isinstance(value, bool):
            return body | {name: not value}
        if isinstance(value, int | float) or value is None:
            return body | {name: 7}
        if isinstance(value, list) and value:
            return body | {name: []} if name == "hours" else None
    return None


def _about(value: Any, ids: dict[str, str], name: str = "") -> Any:
    if isinstance(value, dict):
        return {key: _about(part, ids, key) for key, part in value.items()}
    if isinstance(value, list):
        return [_about(part, ids, name) for part in value]
    return ids.get(name, value)


@asynccontextmanager
async def cast(database_url: str) -> AsyncIterator[Cast]:
    """A world in which an order was taken by a driver, another one rejected with a note, and strangers look on."""
    async with on_postgres(database_url) as world:
        driver_id, driver = await world.account(Role.DRIVER)
        duty = {"on": True, **DALLAS}
        await world.http.post(f"/v1/drivers/{driver_id}/duty", json=duty, headers=driver)
        order = await world.order("CONFIRMED")
        [product] = (await world.http.get(f"/v1/stores/{order.store_id}/products", headers=driver)).json()
        task_id, offer_id = await _taken(world, driver_id, driver)
        owners = {
            Role.CUSTOMER: order.customer,
            Role.MERCHANT: order.merchant,
            Role.DRIVER: driver,
        }
        assignee_id, owners[Role.SUPPORT] = await world.account(Role.SUPPORT)
        for role in (Role.DISPATCHER, Role.ADMIN):
            owners[role] = (await world.account(role))[1]
        for name in RECRUITS:
            await world.recruit(f"{name}@example.org")
        newcomers = {
            route: [await world.recruit(f"{role}-{n}@example.org", role) for n in range(3)]
            for route, role in NEWCOMERS.items()
        }
        strangers = {
            role: (await world.account(role))[1] for role in (Role.CUSTOMER, Role.MERCHANT, Role.DRIVER)
        }
        ids = {
            "merchant_id": order.merchant_id,
            "customer_id": order.customer_id,
            "store_id": order.store_id,
            "product_id": product["id"],
            "order_id": order.id,
            "task_id": task_id,
            "offer_id": offer_id,
            "driver_id": driver_id,
            "region_id": REGION,
            "assignee_id": assignee_id,
        }
        ids["note_id"] = await _noted(world, order)
        colleagues: dict[Job, Headers] = {
            job: await world.colleague(order.merchant_id, job) for job in (Job.MANAGER, Job.CLERK)
        }
        made = Cast(world, ids, owners, strangers, colleagues, newcomers)
        await _others(made)
        yield made


async def _taken(world: World, driver_id: str, driver: Headers) -> tuple[str, str]:
    """The task that the driver gets, and the offer that it was in."""
    async with asyncio.timeout(20):
        while True:
            work = (await world.http.get(f"/v1/drivers/{driver_id}/task", headers=driver)).json()
            if work["offers"]:
                break
            await asyncio.sleep(0.02)
    offer = work["offers"][0]
    task_id = offer["tasks"][0]["task_id"]
    accepted = await world.http.post(f"/v1/tasks/{task_id}/accept", headers=driver)
    assert accepted.status_code == 200, accepted.text
    return task_id, offer["offer_id"]


async def _noted(world: World, order: Any) -> str:
    """A note beside the order, of its merchant."""
    note_id: str = world.services.new_id()
    await world.services.reads.add_note(
        OrderNote(
            note_id=note_id,
            order_id=order.id,
            author_id=order.merchant_id,
            author_role=str(Role.MERCHANT),
            about="reject",
            at_ms=1,
            text="out of it",
        )
    )
    return note_id


async def _others(made: Cast) -> None:
    """Every other thing that a path names is made by the route that makes it: it answers with its `id`."""
    for route in SHOWN:
        names = [part.strip("{}") for part in route.path.split("/") if part.startswith("{")]
        missing = [name for name in names if name not in made.ids]
        if not missing:
            continue
        maker = next(
            one
            for one in SHOWN
            if one.method == "POST" and one.path == route.path.rpartition(f"/{{{missing[0]}}}")[0]
        )
        headers = made.of(maker) | {"Idempotency-Key": f"matrix {missing[0]}"}
        answer = await made.call(maker, headers, body=made.another(maker, "member"))
        assert answer.status_code == 201, answer.text
        made.ids[missing[0]] = answer.json()["id"]
