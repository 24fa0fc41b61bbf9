"""The log of what operators did: which fields, nothing personal, and its export."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from msgspec import Struct

from domain.ground.times import instant
from domain.marketplace.audit import COMMITTED, changes_of, commitment
from domain.orders.lifecycle import Role
from tests.support.database import as_owner, server_url
from tests.support.gateway_world import World, on_postgres

integration = pytest.mark.integration


class Person(Struct, frozen=True):
    name: str
    age: int
    version: int = 1


def test_personal_values_are_commitments() -> None:
    salt = b"s" * 32
    changed = changes_of(Person("Ann", 7), Person("Bob", 8, 2), salt)
    assert changed == {
        "name": [commitment(salt, "name", "Ann"), commitment(salt, "name", "Bob")],
        "age": [7, 8],
    }
    assert commitment(b"t" * 32, "name", "Ann") != changed["name"][0]
    assert commitment(salt, "other", "Ann") != changed["name"][0]
    assert changes_of(None, Person("Ann", 7), salt) == {}


async def _rename(world: World, customer_id: str, admin: dict[str, str], version: int, name: str) -> None:
    headers = admin | {"If-Match": f'"{version}"'}
    body = {"name": name, "language": "es"}
    answer = await world.http.patch(f"/v1/customers/{customer_id}", json=body, headers=headers)
    assert answer.status_code == 200, answer.text


@integration
async def test_what_operators_do_is_listed_and_exported(fresh_database_url: str) -> None:
    async with on_postgres(server_url(fresh_database_url)) as world:
        order = await world.order()
        admin_id, admin = await world.account(Role.ADMIN)
        dispatcher = (await world.account(Role.DISPATCHER))[1]
        for version, name in enumerate(("Zaphod Beeblebrox", "Trillian Astra"), 1):
            await _rename(world, order.customer_id, admin, version, name)

        async def listed(**query: Any) -> dict[str, Any]:
            answer = await world.http.get("/v1/admin/audit", params=query, headers=admin)
            assert answer.status_code == 200, answer.text
            found: dict[str, Any] = answer.json()
            return found

        page = await listed(actor_id=admin_id, limit=1)
        [second] = page["entries"]
        [first] = (await listed(actor_id=admin_id, cursor=page["next_cursor"]))["entries"]
        assert (second["action"], second["aggregate_id"]) == ("customer.changed", order.customer_id)
        assert first["changes"]["language"] == ["en", "es"]
        assert second["changes"].keys() == {"name"}
        assert all(value.startswith(COMMITTED) for value in second["changes"]["name"])
        assert second["changes"]["name"][0] == first["changes"]["name"][1]
        salt = await as_owner(
            fresh_database_url, "SELECT salt FROM audit_salts WHERE aggregate_id = $1", order.customer_id
        )
        assert isinstance(salt, bytes)
        assert second["changes"]["name"][1] == commitment(salt, "name", "Trillian Astra")
        assert (await listed(action="customer.changed", aggregate_id=order.customer_id))["entries"] == [
            second,
            first,
        ]
        assert (await listed(actor_id=admin_id, at_to=first["at"]))["entries"] == []

        export = await world.http.get("/v1/admin/audit/export", headers=admin)
        assert export.headers["content-type"] == "application/x-ndjson"
        lines = [json.loads(line) for line in export.text.splitlines()]
        assert [line["id"] for line in lines if line.get("actor_id") == admin_id] == [
            first["id"],
            second["id"],
        ]
        dossier = (await world.http.get(f"/v1/orders/{order.id}/dossier", headers=admin)).json()["events"]
        heads = [line for line in lines if line["type"] == "dossier_head"]
        assert [(one["aggregate_id"], one["seq"], one["hash"]) for one in heads] == [
            (order.id, dossier[-1]["seq"], dossier[-1]["hash"])
        ]
        table = await world.http.get("/v1/admin/audit/export?format=csv", headers=admin)
        rows = list(csv.DictReader(io.StringIO(table.text)))
        assert [row["type"] for row in rows] == [line["type"] for line in lines]
        assert "Trillian" not in export.text + table.text
        far = {"from": instant(0).isoformat(), "to": instant(8_035_200_000 + 1000).isoformat()}
        refused = await world.http.get("/v1/admin/audit/export", params=far, headers=admin)
        assert refused.json()["code"] == "INVALID_REQUEST"
        assert (await world.http.get("/v1/admin/audit", headers=dispatcher)).status_code == 403
