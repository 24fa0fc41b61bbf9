"""What many ask for is worked out once."""

from __future__ import annotations

import asyncio

import pytest

from actors.config import Limits
from actors.telemetry.metrics import Family
from gateway.http.cache import AnswerCache
from tests.support.gateway_world import SCRAPER, running


async def test_an_answer_serves_everybody_for_a_while_and_no_failure_does() -> None:
    now_s = [0.0]
    kept, calls = AnswerCache(1.0, lambda: now_s[0]), 0
    gate = asyncio.Event()

    async def work() -> int:
        nonlocal calls
        calls += 1
        number = calls
        await gate.wait()
        if number == 2:
            raise OSError("away")
        return number

    first = [asyncio.create_task(kept.get("a", work)) for _ in range(50)]
    await asyncio.sleep(0)
    now_s[0] = 30.0  # one that takes long is not begun again
    first.append(asyncio.create_task(kept.get("a", work)))
    await asyncio.sleep(0)
    first[0].cancel()
    gate.set()
    assert await asyncio.gather(*first[1:]) == [1] * 50
    with pytest.raises(OSError, match="away"):
        await kept.get("a", work)
    assert [await kept.get("a", work) for _ in range(3)] == [3, 3, 3]
    now_s[0] += 1.0
    assert await kept.get("a", work) == 4
    assert await kept.get("b", work) == 5


async def test_a_flood_of_status_questions_is_one_question() -> None:
    async with running(limits=Limits(rate_limits="off", status_keep_s=60)) as world:
        asked, regions = 0, 0
        plain = world.services.reads.regions

        async def others() -> dict[str, list[Family] | None]:
            nonlocal asked
            asked += 1
            return {}

        async def counted() -> object:
            nonlocal regions
            regions += 1
            return await plain()

        world.services.others = others
        world.services.reads.regions = counted  # type: ignore[method-assign, assignment]
        for _ in range(3):
            pages = await asyncio.gather(*(world.http.get("/metrics", headers=SCRAPER) for _ in range(20)))
            ready = await asyncio.gather(*(world.http.get("/health/ready") for _ in range(20)))
            assert {answer.status_code for answer in (*pages, *ready)} == {200}
        assert (asked, regions) == (1, 1)


async def test_metrics_are_for_those_with_a_token() -> None:
    token = "a token that only reads the metrics"
    async with running(metrics_token=token) as world:
        wrong: tuple[dict[str, str], ...] = (
            {},
            {"Authorization": "Bearer "},
            {"Authorization": f"Basic {token}"},
            {"Authorization": f"Bearer {token}x"},
            {"X-Internal-Token": ""},
            {"Authorization": "Bearer \u00e9"},
        )
        for headers in wrong:
            raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
            refused = await world.http.get("/metrics", headers=raw)
            assert (refused.status_code, refused.json()["code"]) == (401, "UNAUTHENTICATED")
        right = (
            {"Authorization": f"bearer {token}"},
            SCRAPER,
            {"X-Internal-Token": SCRAPER["Authorization"][7:]},
        )
        for headers in right:
            assert (await world.http.get("/metrics", headers=headers)).status_code == 200
        tick = await world.http.post(
            "/internal/dispatch/tick?region_id=tx-dfw", headers={"X-Internal-Token": token}
        )
        assert tick.status_code == 403  # it opens nothing else
