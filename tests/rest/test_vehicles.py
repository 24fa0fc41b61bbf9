"""What is particular to vehicles; their authority, keys, versions and pages are the matrix's."""

from __future__ import annotations

import pytest

from domain.orders.lifecycle import Role
from tests.support.database import server_url
from tests.support.gateway_world import on_postgres

pytestmark = pytest.mark.integration


async def test_a_vehicle_that_is_driven_no_more_stays_so(fresh_database_url: str) -> None:
    async with on_postgres(server_url(fresh_database_url)) as world:
        driver_id, headers = await world.account(Role.DRIVER)
        url = f"/v1/drivers/{driver_id}/vehicles"
        van = {"plate": "LNE-4711", "kind": "van", "capacity_l": 900}
        added = await world.http.post(url, json=van, headers=headers | {"Idempotency-Key": "a"})
        assert (added.status_code, added.headers["etag"]) == (201, '"1"')
        path = f"{url}/{added.json()['id']}"

        async def change(version: int, **body: object) -> tuple[int, str]:
            keyed = headers | {"Idempotency-Key": f"{version} {body}", "If-Match": f'"{version}"'}
            answer = await world.http.put(path, json={"kind": "van"} | body, headers=keyed)
            return answer.status_code, answer.json().get("code") or answer.headers["etag"]

        assert await change(1, capacity_l=700) == (200, '"2"')
        assert await change(2, capacity_l=700, retired=True) == (200, '"3"')
        assert await change(3, capacity_l=800) == (409, "WRONG_STATE")
        assert await change(3, capacity_l=700) == (409, "WRONG_STATE")
        read = (await world.http.get(path, headers=headers)).json()
        assert (read["capacity_l"], read["version"], read["retired_at"] is None) == (700, 3, False)
        for bad in ({"plate": "lower"}, {"capacity_l": 0}, {"kind": "boat"}, {"owner": "me"}):
            answer = await world.http.post(url, json=van | bad, headers=headers | {"Idempotency-Key": "b"})
            assert answer.json()["code"] == "INVALID_REQUEST"
