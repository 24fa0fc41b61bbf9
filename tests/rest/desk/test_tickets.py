"""Support tickets: whose turn it is, who sees what, and that what people write can be erased."""

from __future__ import annotations

from typing import Any

import pytest

from domain.orders.lifecycle import Role
from tests.support.database import as_owner, server_url
from tests.support.gateway_world import World, on_postgres

pytestmark = pytest.mark.integration
Headers = dict[str, str]


async def _send(
    world: World, method: str, path: str, headers: Headers, body: Any = None, version: int | None = None
) -> Any:
    sent = headers | {"Idempotency-Key": world.services.new_id()}
    if version is not None:
        sent["If-Match"] = f'"{version}"'
    answer = await world.http.request(method, path, json=body, headers=sent)
    if answer.status_code == 204:
        return None
    return answer.json().get("code") or answer.json()


async def test_a_ticket_goes_to_and_fro_until_it_is_closed(fresh_database_url: str) -> None:
    async with on_postgres(server_url(fresh_database_url)) as world:
        order = await world.order()
        support_id, support = await world.account(Role.SUPPORT)
        stranger_id, stranger = await world.account(Role.CUSTOMER)
        new = {"subject": "ORDER_LATE", "order_id": order.id, "text": "where is my unusual wine"}
        assert await _send(world, "POST", "/v1/tickets", stranger, new) == "NOT_FOUND"
        opened = await _send(world, "POST", "/v1/tickets", order.customer, new)
        path = f"/v1/tickets/{opened['id']}"
        assert (opened["status"], opened["version"]) == ("OPEN", 1)

        assign = {"assignee_id": stranger_id}
        assert await _send(world, "PUT", f"{path}/assignee", support, assign, 1) == "INVALID_REQUEST"
        assign = {"assignee_id": support_id}
        assert (await _send(world, "PUT", f"{path}/assignee", support, assign, 1))[
            "assignee_id"
        ] == support_id
        replied = await _send(world, "POST", f"{path}/messages", support, {"text": "on its way"})
        assert (replied["status"], replied["version"]) == ("WAITING", 3)
        listed = await _send(world, "GET", f"/v1/tickets?status=WAITING&assignee_id={support_id}", support)
        assert [one["id"] for one in listed["tickets"]] == [opened["id"]]
        assert (await _send(world, "GET", "/v1/tickets", stranger))["tickets"] == []

        solve, close = {"action": "solve"}, {"action": "close"}
        assert await _send(world, "POST", f"{path}/status", order.customer, solve, 3) == "FORBIDDEN"
        assert (await _send(world, "POST", f"{path}/status", support, solve, 3))["status"] == "SOLVED"
        again = await _send(world, "POST", f"{path}/messages", order.customer, {"text": "it is not"})
        assert again["status"] == "OPEN"
        told = (await _send(world, "GET", f"{path}/messages", order.customer))["messages"]
        assert [(one["text"], one["author_role"]) for one in told] == [
            ("it is not", "customer"),
            ("on its way", "support"),
            ("where is my unusual wine", "customer"),
        ]
        assert told[1]["author_id"] is None
        assert await _send(world, "DELETE", f"{path}/messages/{told[1]['id']}", order.customer) == "NOT_FOUND"
        assert await _send(world, "DELETE", f"{path}/messages/{told[2]['id']}", order.customer) is None
        for table in ("ticket_messages", "idempotency", "outbox", "audit_entries"):
            left = await as_owner(
                fresh_database_url, f"SELECT count(*) FROM {table} t WHERE t::text LIKE '%unusual wine%'"
            )
            assert left == 0, table
        assert (await _send(world, "POST", f"{path}/status", order.customer, close, 5))["status"] == "CLOSED"
        assert await _send(world, "POST", f"{path}/messages", order.customer, {"text": "x"}) == "WRONG_STATE"


async def test_support_sees_orders_and_decides_on_none(fresh_database_url: str) -> None:
    async with on_postgres(server_url(fresh_database_url)) as world:
        order = await world.order()
        support = (await world.account(Role.SUPPORT))[1]
        assert (await _send(world, "GET", f"/v1/orders/{order.id}", support))["id"] == order.id
        assert [one["id"] for one in (await _send(world, "GET", "/v1/orders", support))["orders"]] == [
            order.id
        ]
        assert await _send(world, "POST", f"/v1/orders/{order.id}/cancel", support, {}) == "FORBIDDEN"
        for path in ("/v1/admin/audit", "/v1/admin/drivers", "/v1/regions/tx-dfw/stats"):
            assert await _send(world, "GET", path, support) == "FORBIDDEN", path
