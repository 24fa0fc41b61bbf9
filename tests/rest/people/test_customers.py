"""What is particular to customers; their authority, keys, versions and pages are the matrix's."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text

from domain.orders.lifecycle import Role
from persistence.engine import create_plain_engine
from tests.support.database import server_url
from tests.support.gateway_world import World, on_postgres

pytestmark = pytest.mark.integration

DOOR = {
    "line": "1500 Marilla Street",
    "unit": "Apt 4",
    "city": "Dallas",
    "state": "TX",
    "zip": "75201",
    "lat": 32.776,
    "lng": -96.797,
    "instructions": "the bell sticks",
}


async def everything(url: str) -> str:
    """All rows of all tables that may hold what people typed."""
    engine = create_plain_engine(url)
    try:
        async with engine.connect() as connection:
            found = [
                (await connection.execute(text(f"SELECT {name}::text FROM {name}"))).scalars().all()
                for name in ("addresses", "idempotency", "outbox", "audit_entries", "customers")
            ]
    finally:
        await engine.dispose()
    return str(found)


async def test_a_profile_is_there_from_the_first_moment_on(fresh_database_url: str) -> None:
    async with on_postgres(server_url(fresh_database_url)) as world:
        customer_id, headers = await world.account(Role.CUSTOMER)
        url = f"/v1/customers/{customer_id}"
        before = await world.http.get(url, headers=headers)
        assert (before.status_code, before.headers["etag"]) == (200, '"1"')
        assert (before.json()["phone"], before.json()["language"]) == (None, "en")

        async def change(version: int, **body: object) -> tuple[int, str]:
            answer = await world.http.patch(url, json=body, headers=headers | {"If-Match": f'"{version}"'})
            return answer.status_code, answer.json().get("code") or answer.headers["etag"]

        assert await change(1, phone="+12145550100", language="es") == (200, '"2"')
        assert await change(1, name="Ana") == (412, "VERSION_MISMATCH")
        assert await change(2, name="Ana") == (200, '"3"')
        after = (await world.http.get(url, headers=headers)).json()
        assert (after["name"], after["phone"], after["language"]) == ("Ana", "+12145550100", "es")
        assert await change(3, phone=None) == (200, '"4"')
        assert (await world.http.get(url, headers=headers)).json()["phone"] is None
        for bad in ("2145550100", "+1214555010", "+11145550100", "+12149110100", "+0123456789", "+1 214"):
            assert (await change(4, phone=bad))[1] == "INVALID_REQUEST", bad
        assert (await change(4, language="de"))[1] == "INVALID_REQUEST"


async def _add(world: World, url: str, headers: dict[str, str], key: str, **body: object) -> tuple[int, str]:
    answer = await world.http.post(url, json=DOOR | body, headers=headers | {"Idempotency-Key": key})
    return answer.status_code, str(answer.json().get("code") or answer.json()["id"])


async def test_only_doors_are_addresses(fresh_database_url: str) -> None:
    async with on_postgres(server_url(fresh_database_url)) as world:
        customer_id, headers = await world.account(Role.CUSTOMER)
        url = f"/v1/customers/{customer_id}/addresses"
        wrong: dict[str, tuple[dict[str, Any], ...]] = {
            "ADDRESS_NOT_DELIVERABLE": (
                {"zip": "10001"},
                {"state": "OK", "zip": "73301"},
                {"line": "P.O. Box 12"},
                {"unit": "PMB 7"},
            ),
            "OUTSIDE_SERVICE_AREA": ({"lat": 40.7, "lng": -74.0},),
            "INVALID_REQUEST": ({"zip": "7520"}, {"state": "Texas"}, {"line": "   "}, {"lat": 91}),
        }
        for code, bodies in wrong.items():
            for number, body in enumerate(bodies):
                assert (await _add(world, url, headers, f"{code}{number}", **body))[1] == code, body
        assert (await _add(world, url, headers, "plus four", zip="75201-1234"))[0] == 201


async def test_an_address_that_is_erased_is_nowhere(fresh_database_url: str) -> None:
    async with on_postgres(server_url(fresh_database_url)) as world:
        customer_id, headers = await world.account(Role.CUSTOMER)
        url = f"/v1/customers/{customer_id}/addresses"

        async def defaults() -> list[tuple[str, bool]]:
            found = (await world.http.get(url, headers=headers)).json()
            return [(one["line"], one["is_default"]) for one in found]

        _, old = await _add(world, url, headers, "a", line="1 Old Street", is_default=True)
        _, new = await _add(world, url, headers, "b", line="2 New Street", is_default=False)
        made = await world.http.post(f"{url}/{new}/default", headers=headers | {"Idempotency-Key": "c"})
        assert (made.status_code, made.headers["etag"]) == (200, '"2"')
        assert sorted(await defaults()) == [("1 Old Street", False), ("2 New Street", True)]

        moved = headers | {"If-Match": '"1"'}
        assert (await world.http.put(f"{url}/{old}", json=DOOR, headers=moved)).status_code == 200
        assert (await world.http.delete(f"{url}/{new}", headers=moved)).status_code == 412
        _, stranger = await world.account(Role.CUSTOMER)
        assert (await world.http.delete(f"{url}/{new}", headers=stranger)).status_code == 404
        keyed = headers | {"If-Match": '"2"', "Idempotency-Key": "d"}
        for _ in range(2):  # the second time it is a repeat
            assert (await world.http.delete(f"{url}/{new}", headers=keyed)).status_code == 204
        assert (await world.http.get(f"{url}/{new}", headers=headers)).status_code == 404
        assert await defaults() == [("1500 Marilla Street", True)]
        kept = await everything(fresh_database_url)
        assert "Marilla" in kept
        assert "New Street" not in kept
        assert "Old Street" not in kept


async def test_age_checks_are_listed_with_what_they_are_good_for(fresh_database_url: str) -> None:
    async with on_postgres(server_url(fresh_database_url)) as world:
        order = await world.order()
        for token in ("fake:fail", "fake:pass"):
            await world.step(order, "verify_age", {"vendor_token": token})
        url = f"/v1/customers/{order.customer_id}/age-verifications"
        first = (await world.http.get(f"{url}?limit=1", headers=order.customer)).json()
        [passed] = first["age_verifications"]
        assert (passed["outcome"], passed["valid"], passed["order_id"]) == ("PASS", True, order.id)
        rest = await world.http.get(f"{url}?cursor={first['next_cursor']}", headers=order.customer)
        [failed] = rest.json()["age_verifications"]
        assert (failed["outcome"], failed["valid"]) == ("FAIL", False)
        await world.step(order, "cancel", {})
        again = (await world.http.get(url, headers=order.customer)).json()["age_verifications"]
        assert [one["valid"] for one in again] == [False, False]
        assert "vendor" not in str(again)
