"""What a region's shell tells of its own speed."""

from __future__ import annotations

import asyncio

from actors.telemetry.timing import Window, quantile
from domain.region.messages import Acked
from tests.support.build import STORE_AT, attach, seen
from tests.support.shells import DEADLINE_S, Shell, until
from tests.support.story import put_order


def test_quantiles() -> None:
    assert quantile([], 0.5) == 0.0
    assert [quantile([3, 1, 2], q) for q in (0.0, 0.5, 0.99, 1.0)] == [1, 2, 3, 3]


def test_a_window_tells_its_newest_one_by_one() -> None:
    window = Window()
    for seconds in (0.002, 0.001):
        window.add(seconds)
    assert window.lately_ms(3600) == [2.0, 1.0]
    assert window.lately_ms(-1) == [], "all of it is older than a moment that is still to come"
    assert (window.quantile_ms(0.99), window.last_ms()) == (2.0, 1.0)


async def test_the_shell_tells_how_long_tasks_wait_for_a_plan() -> None:
    one = Shell()
    await one.shell.start()
    await one.shell.post([attach("ann")])
    one.shell.seen(seen({"ann": STORE_AT}))
    await one.shell.post([put_order(one.store.inner, 1, one.clock.now_ms())])
    assert one.shell.stats()["tasks_unplanned"] == 1
    one.clock.forward(0.25)
    await one.shell.post([Acked("ann", 0)])  # wakes the deadline loop: the clock has moved
    await until(lambda: one.shell.stats()["tasks_unplanned"] == 0)
    stats = one.shell.stats()
    assert stats["task_to_plan_ms_p50"] == stats["task_to_plan_ms_p99"] == 250
    assert float(stats["solve_ms_p99"]) >= float(stats["solve_ms_p50"]) > 0
    lately = one.shell.lately(10)
    assert lately["task_to_plan"] == [250]
    assert lately["solve"] == [stats["solve_ms_p50"]]
    assert lately.keys() == {"task_to_plan", "solve", "lag"}
    one.clock.forward(20)
    assert one.shell.lately(10)["task_to_plan"] == [], "opened before"
    async with asyncio.timeout(DEADLINE_S):
        await one.shell.stop()
