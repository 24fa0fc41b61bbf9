"""Who drives: drivers apply, are reviewed, and are off duty when their documents run out or they are suspended."""

from __future__ import annotations

from typing import Any

import pytest

from domain.marketplace.accounts import OpenAccount, User
from domain.orders.lifecycle import Role
from tests.support.database import server_url
from tests.support.gateway_world import DALLAS, REGION, World, on_postgres, until
from tests.support.marketplace import change

pytestmark = pytest.mark.integration

USER_ID = "00000000-0000-4000-8000-0000000f0001"
LICENSE = {"kind": "LICENSE", "last_four": "4711", "expires_at": "2099-01-01T00:00:00Z"}
INSURANCE = LICENSE | {"kind": "INSURANCE", "expires_at": "2098-01-01T00:00:00Z"}
Headers = dict[str, str]


async def _newcomer(world: World) -> Headers:
    """An account of a driver who has not applied."""
    user = User(
        user_id=USER_ID,
        email="new@example.org",
        password_hash="-",
        role=Role.DRIVER,
        name="New",
        created_ms=0,
    )
    await change(world.services.marketplace, OpenAccount(user))
    return world.auth(USER_ID, Role.DRIVER)


async def _post(
    world: World, path: str, headers: Headers, body: Any, version: int | None = None
) -> tuple[int, Any]:
    sent = headers | {"Idempotency-Key": world.services.new_id()}
    if version is not None:
        sent["If-Match"] = f'"{version}"'
    answer = await world.http.post(path, json=body, headers=sent)
    return answer.status_code, answer.json().get("code") or answer.json()


def _on_duty(world: World) -> bool:
    """Whether the market knows of a driver who can be offered something."""
    counts = world.backend.regions[REGION].frame().drivers.counts
    return counts["free"] > 0


async def test_nobody_drives_before_an_operator_has_approved(fresh_database_url: str) -> None:
    async with on_postgres(server_url(fresh_database_url)) as world:
        driver, admin = await _newcomer(world), (await world.account(Role.ADMIN))[1]
        own, desk = f"/v1/drivers/{USER_ID}", f"/v1/admin/drivers/{USER_ID}"

        async def duty() -> Any:
            answer = await world.http.post(f"{own}/duty", json={"on": True, **DALLAS}, headers=driver)
            return answer.json().get("code") or answer.status_code

        assert await duty() == "DRIVER_NOT_APPROVED"
        applied = await _post(world, "/v1/drivers", driver, {"region_id": REGION, "documents": [LICENSE]})
        assert (applied[0], applied[1]["status"]) == (201, "APPLIED")
        assert (await _post(world, "/v1/drivers", driver, {"region_id": REGION}))[1] == "WRONG_STATE"
        assert await duty() == "DRIVER_NOT_APPROVED"

        assert (await _post(world, f"{desk}/review", admin, {"verdict": "approve"}, 1))[
            1
        ] == "DOCUMENTS_MISSING"
        more = {"verdict": "ask_for_more", "reason": "DOCUMENTS_MISSING"}
        assert (await _post(world, f"{desk}/review", admin, more, 1))[1]["status"] == "INCOMPLETE"
        assert (await _post(world, f"{own}/documents", driver, INSURANCE))[0] == 201
        assert (await _post(world, f"{desk}/review", admin, {"verdict": "approve"}, 3))[1] == "WRONG_STATE"
        assert (await _post(world, f"{own}/submit", driver, None, 3))[1]["status"] == "APPLIED"
        listed = (await world.http.get("/v1/admin/drivers?status=APPLIED", headers=admin)).json()
        assert [one["id"] for one in listed["drivers"]] == [USER_ID]
        status, approved = await _post(world, f"{desk}/review", admin, {"verdict": "approve"}, 4)
        assert (status, approved["status"], approved["papers_until"]) == (
            200,
            "APPROVED",
            "2098-01-01T00:00:00Z",
        )
        assert {one["status"] for one in approved["documents"]} == {"ACCEPTED"}
        assert await duty() == 200

        await until(lambda: _on_duty(world))
        reason = {"reason": "COMPLAINTS"}
        assert (await _post(world, f"{desk}/suspend", admin, reason, 5))[1]["status"] == "SUSPENDED"
        await until(lambda: not _on_duty(world))
        assert await duty() == "DRIVER_NOT_APPROVED"
        assert (await _post(world, f"{desk}/reinstate", admin, None, 6))[1]["status"] == "APPROVED"
        assert await duty() == 200
        for wrong in ({"last_four": "12345678"}, {"expires_at": "2020-01-01T00:00:00Z"}, {"number": "1"}):
            assert (await _post(world, f"{own}/documents", driver, LICENSE | wrong))[1] == "INVALID_REQUEST"


async def test_who_has_a_socket_is_off_duty_at_once(fresh_database_url: str) -> None:
    """However the driver is connected: suspended, a document refused, and back again with a newer one."""
    async with on_postgres(server_url(fresh_database_url)) as world:
        driver_id, socket = await world.driver()
        admin = (await world.account(Role.ADMIN))[1]
        desk = f"/v1/admin/drivers/{driver_id}"
        await until(lambda: _on_duty(world))
        [license_, _] = (await world.http.get(f"/v1/drivers/{driver_id}", headers=admin)).json()["documents"]
        refused = {"accepted": False, "reason": "DOCUMENT_NOT_VALID"}
        judged = await _post(world, f"{desk}/documents/{license_['id']}/review", admin, refused, 2)
        assert judged[0] == 200
        await until(lambda: not _on_duty(world))

        # What the socket itself knows comes with the next look at everybody's standing.
        await world.services.recheck.look()
        await socket.send({"type": "duty", "on": True, **DALLAS})
        assert (await socket.receive("error"))["code"] == "DOCUMENTS_EXPIRED"
        headers = world.auth(driver_id, Role.DRIVER)
        status, newer = await _post(world, f"/v1/drivers/{driver_id}/documents", headers, LICENSE)
        assert status == 201
        path = f"{desk}/documents/{newer['id']}/review"
        assert (await _post(world, path, admin, {"accepted": True}, 4))[0] == 200
        await world.services.recheck.look()
        await socket.send({"type": "duty", "on": True, **DALLAS})
        await until(lambda: _on_duty(world))
        await _post(world, f"{desk}/suspend", admin, {"reason": "OTHER"}, 5)
        await until(lambda: not _on_duty(world))
        await world.services.recheck.look()
        await socket.send({"type": "duty", "on": True, **DALLAS})
        assert (await socket.receive("error"))["code"] == "DRIVER_NOT_APPROVED"
        await socket.close()
