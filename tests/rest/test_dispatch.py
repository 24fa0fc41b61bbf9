"""What is particular to dispatchers' steps and lists, and to the places of drivers' steps; their authority, keys and
schemas are the matrix's."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from domain.orders.lifecycle import Role
from domain.region.ops.frames import DriversAsked
from domain.region.policy import RegionPolicy
from persistence import tables
from persistence.reads.queries import table_of
from tests.support.database import server_url
from tests.support.gateway_world import DALLAS, DOOR, REGION, World, on_postgres, running, until

pytestmark = pytest.mark.integration

# Nobody is looked for while a test is about what operators do.
IDLE = RegionPolicy(fast_window_s=1e4, fast_max_wait_s=1e4, geofence=None)
AUDIT = table_of(tables.AuditEntry)


async def on_duty(world: World) -> tuple[str, dict[str, str]]:
    driver_id, headers = await world.account(Role.DRIVER)
    said = await world.http.post(
        f"/v1/drivers/{driver_id}/duty", json={"on": True, **DALLAS}, headers=headers
    )
    assert said.status_code == 200, said.text
    return driver_id, headers


async def test_a_task_is_given_taken_and_settled_by_hand(fresh_database_url: str) -> None:
    async with on_postgres(server_url(fresh_database_url), policy=IDLE) as world:
        order = await world.order("CONFIRMED")
        (ann, her), (bob, _) = await on_duty(world), await on_duty(world)
        dora, headers = await world.account(Role.DISPATCHER)

        async def get(path: str, **query: Any) -> Any:
            answer = await world.http.get(path, params=query, headers=headers)
            assert answer.status_code == 200, answer.text
            return answer.json()

        async def step(name: str, key: str, **body: Any) -> tuple[str, str]:
            keyed = headers | {"Idempotency-Key": key}
            answer = await world.http.post(f"/v1/tasks/{task_id}/{name}", json=body, headers=keyed)
            told = answer.json()
            return told.get("status", ""), told.get("code") or told["task"]["status"]

        region = world.backend.regions[REGION]
        await until(lambda: len(region.drivers(DriversAsked(limit=9, states=("free",)))) == 2)
        [task] = (await get("/v1/tasks", region_id=REGION, order_id=order.id))["tasks"]
        task_id = task["id"]
        why = {"reason": "NO_DRIVER"}
        assert await step("assign", "a", driver_id=ann, **why) == ("ASSIGNED", "ASSIGNED")
        assert await step("assign", "a", driver_id=ann, **why) == ("ASSIGNED", "ASSIGNED")
        assert (await step("assign", "b", driver_id=bob, **why))[1] == "WRONG_STATE"
        assert await step("reassign", "c", driver_id=bob, **why) == ("ASSIGNED", "ASSIGNED")
        assert await step("release", "d", **why) == ("CONFIRMED", "OPEN")
        assert await step("assign", "e", driver_id=ann, **why) == ("ASSIGNED", "ASSIGNED")
        for part in ("arrive", "pickup"):
            assert (await world.http.post(f"/v1/tasks/{task_id}/{part}", headers=her)).status_code == 200
        assert (await step("release", "f", **why))[1] == "WRONG_STATE"
        # Who drives what, newest first, page by page.
        taken = await get("/v1/assignments", limit=2)
        rest = await get("/v1/assignments", limit=2, cursor=taken["next_cursor"])
        rows = taken["assignments"] + rest["assignments"]
        assert [row["driver_id"] for row in rows] == [ann, bob, ann]
        assert [(row["by_hand"], row["active"]) for row in rows] == [
            (True, True),
            (True, False),
            (True, False),
        ]
        assert rest["next_cursor"] is None
        for query, own in (({"state": "active"}, [ann]), ({"state": "ended", "driver_id": bob}, [bob])):
            page = await get("/v1/assignments", **query)
            assert [row["driver_id"] for row in page["assignments"]] == own
        [line] = (await get("/v1/drivers", region_id=REGION, state="to_dropoff"))["drivers"]
        assert (line["id"], line["task_ids"]) == (ann, [task_id])
        first = await get("/v1/drivers", region_id=REGION, limit=1)
        second = await get("/v1/drivers", region_id=REGION, limit=1, cursor=first["next_cursor"])
        assert {first["drivers"][0]["id"], second["drivers"][0]["id"]} == {ann, bob}
        # Lost on the road: never as delivered.
        lost = {"outcome": "LOST", "evidence_ref": "incident:1"}
        assert (await step("resolve", "g", outcome="LOST", evidence_ref="she lost it"))[
            1
        ] == "INVALID_REQUEST"
        assert await step("resolve", "h", **lost) == ("WRITTEN_OFF", "FAILED")
        assert (await get("/v1/tasks", status="PICKED_UP"))["tasks"] == []
        [ended] = (await get("/v1/tasks", driver_id=ann))["tasks"]
        assert (ended["status"], ended["ended_at"] is None) == ("FAILED", False)
        logged = select(AUDIT.c.actor_id, AUDIT.c.action).order_by(AUDIT.c.entry_id)
        done = [tuple(row.values()) for row in await world.services.reads._all(logged)]  # type: ignore[attr-defined]
        assert done == [
            (dora, f"order.{event}")
            for event in (
                "task_assigned", "task_released", "task_assigned", "task_released", "task_assigned", "written_off",
            )
        ]  # fmt: skip


async def test_a_step_far_away_needs_a_reason_and_the_stops_tell_of_it() -> None:
    async with running(
        policy=RegionPolicy(fast_window_s=0.01, fast_max_wait_s=0.05, offer_lead_s=3600.0)
    ) as world:
        driver_id, driver = await world.account(Role.DRIVER)
        duty = {"on": True, **DALLAS}
        await world.http.post(f"/v1/drivers/{driver_id}/duty", json=duty, headers=driver)
        order = await world.order("CONFIRMED")
        work: dict[str, Any] = {}
        while not work.get("offers"):
            work = (await world.http.get(f"/v1/drivers/{driver_id}/task", headers=driver)).json()
        task_id = work["offers"][0]["tasks"][0]["task_id"]
        url = f"/v1/tasks/{task_id}"
        assert (await world.http.post(f"{url}/accept", headers=driver)).status_code == 200
        assert (await world.http.post(f"{url}/arrive", headers=driver)).status_code == 200
        assert (await world.http.post(f"{url}/pickup", json={}, headers=driver)).status_code == 200
        far = await world.http.post(f"{url}/arrive", headers=driver)
        assert (far.status_code, far.json()["code"]) == (409, "TOO_FAR")
        assert " m away" in far.json()["detail"]
        sent = {"lat": DOOR["lat"], "lng": DOOR["lng"], "override": "GPS_WRONG"}
        assert (
            await world.http.post(f"{url}/arrive", json=sent | {"override": "I am"}, headers=driver)
        ).status_code == 422
        assert (await world.http.post(f"{url}/arrive", json=sent, headers=driver)).status_code == 200
        check = {"method": "scan", "vendor_token": "fake:pass", "sober": True}
        door = f"/v1/orders/{order.id}"
        assert (
            await world.http.post(f"{door}/doorstep_id_check/submit", json=check | sent, headers=driver)
        ).is_success
        refused = await world.http.post(f"{door}/deliver/confirm", headers=driver)
        assert refused.json()["code"] == "TOO_FAR"
        assert (await world.http.post(f"{door}/deliver/confirm", json=sent, headers=driver)).is_success
        shown = (await world.http.get(f"{door}/stops", headers=order.customer)).json()["stops"]
        assert [(stop["place"], stop["ended_by"], stop["overrides"]) for stop in shown] == [
            ("store", "PICKED_UP", []),
            ("door", "DELIVERED", ["GPS_WRONG"] * 3),
        ]
        assert all(stop["stay_s"] >= 0 and stop["driver_id"] == driver_id for stop in shown)
        [line] = world.backend.regions[REGION].drivers(DriversAsked(limit=9))
        assert line.overrides == 3
