"""The crowd at the door of a gateway in this process: each attack is answered, and the neighbours are."""

from __future__ import annotations

import pytest

from actors.config import Limits
from bench.counters import know
from bench.hostile import crowd
from bench.hostile.crowd import ATTACKS, CrowdOptions, _Door, run_crowd
from domain.orders.lifecycle import Role
from tests.support.gateway_world import INTERNAL_TOKEN
from tests.unit.gateway.http.listener.listening import serving

LIMITS = Limits(
    rate_limit_rules="read=100000 per minute,machines=20 per hour",
    ping_flush_s=0.01,
    http_in_flight_limit=4,
    http_head_timeout_s=0.5,
    http_body_timeout_s=0.5,
)


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowd, "FILL", 4_000_000)


@pytest.mark.parametrize(
    ("name", "number", "seen"),
    [
        ("halves", 20, {"408_count": 20}),
        ("silent", 20, {"408_count": 10, "closed_count": 10}),
        ("heads", 1, {"status": 431}),
        ("urls", 1, {"status": 414}),
    ],
)
async def test_an_attack_is_answered_and_takes_no_place(name: str, number: int, seen: dict[str, int]) -> None:
    async with serving(limits=LIMITS) as (world, port):
        found = await ATTACKS[name](_Door(f"http://127.0.0.1:{port}", INTERNAL_TOKEN, number), 10.0)
        assert seen.items() <= found.items(), found
        assert world.services.admission.requests == 0


async def test_a_flood_of_status_pages_is_refused_after_a_few() -> None:
    async with serving(limits=LIMITS) as (_, port):
        found = await ATTACKS["pages"](_Door(f"http://127.0.0.1:{port}", INTERNAL_TOKEN, 30), 1.0)
        assert found["200_count"] == 20
        assert (found["429_count"] or 0) >= 10


async def test_the_figures_of_a_run() -> None:
    async with serving(limits=LIMITS) as (world, port):
        url = f"http://127.0.0.1:{port}"
        know(url, INTERNAL_TOKEN)
        tokens = [(await world.account(Role.DRIVER))[1]["Authorization"][7:] for _ in range(2)]
        options = CrowdOptions(halves=10, silent=10, calm_s=0.3, attack_s=0.3, halves_s=1.0)
        made = await run_crowd(url, tokens, options, rss_bytes=lambda: 0)
        assert made.figures["neighbours_failed_count"] == 0
        assert made.figures["halves_408_count"] == 10
        assert {f"{name}_p99_ms" for name in ("calm", *ATTACKS, "after")} <= made.figures.keys()
