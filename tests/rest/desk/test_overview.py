"""The platform at a glance."""

from __future__ import annotations

import pytest

from domain.orders.lifecycle import Role
from tests.support.database import server_url
from tests.support.gateway_world import on_postgres

pytestmark = pytest.mark.integration


async def test_the_dashboard_counts_what_there_is(fresh_database_url: str) -> None:
    async with on_postgres(server_url(fresh_database_url)) as world:
        order = await world.order()
        await world.account(Role.DRIVER)
        admin = (await world.account(Role.ADMIN))[1]
        headers = order.customer | {"Idempotency-Key": "t"}
        body = {"subject": "OTHER", "text": "hello"}
        assert (await world.http.post("/v1/tickets", json=body, headers=headers)).status_code == 201
        told = (await world.http.get("/v1/admin/dashboard", headers=admin)).json()
        told.pop("at")
        assert told == {
            "orders": {"DRAFT": 1},
            "delivered_cents": 0,
            "merchants": {"APPROVED": 1},
            "drivers": {"APPROVED": 1},
            "tickets": {"OPEN": 1},
        }
