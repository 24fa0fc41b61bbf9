"""The parts of the plan benchmark that need no server."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from bench.dispatch.match import MatchOptions, market
from bench.latency.plan import PING_EVERY_S, Pings, due_pings, quantiles
from domain.region.messages import DriversSeen
from doorstep.cli.app import app
from tests.support.story import Story


def test_every_driver_pings_at_once_and_then_evenly() -> None:
    assert due_pings(0, 0.0, 50).tolist() == list(range(50))
    assert due_pings(50, 0.0, 50).tolist() == []
    assert due_pings(50, PING_EVERY_S / 10, 50).tolist() == [50, 51, 52, 53, 54]
    assert due_pings(55, PING_EVERY_S / 10, 50).tolist() == []


def test_after_a_long_call_each_driver_pings_once() -> None:
    due = due_pings(50, 10 * PING_EVERY_S, 50)
    assert sorted((due % 50).tolist()) == list(range(50))
    assert due[-1] == 11 * 50 - 1, "the newest"


def test_a_region_takes_the_pings_for_drivers_on_duty() -> None:
    async def nobody(*arguments: Any) -> None:
        raise AssertionError("not called")

    story, drivers = Story(), market(MatchOptions(), 1, 40).drivers
    pings = Pings(nobody, drivers)
    story.step(pings.batch(due_pings(0, 0.0, 40)))
    fleet = story.region.state.fleet
    assert len(fleet) == 40
    assert story.region.state.rows_to_ask(story.now).tolist() == list(range(40))
    assert fleet.lat[:40].tolist() == drivers.lat.tolist()
    seqs = fleet.rest_seq[:40].copy()
    story.step(pings.batch(due_pings(40, PING_EVERY_S, 40)))
    assert (fleet.rest_seq[:40] > seqs).all(), "none of them is taken for an old one"
    story.order()
    story.look()
    assert len(story.region.state.offers.live) == 1, "they are planned with"


async def test_pings_are_batches_of_what_is_due() -> None:
    batches: list[DriversSeen] = []

    class Enough(Exception):
        pass

    async def region(actor: str, method: str, batch: DriversSeen) -> int:
        assert (actor, method) == ("region:tx-dfw", "seen")
        batches.append(batch)
        if len(batches) == 3:
            raise Enough
        return 1

    pings = Pings(region, market(MatchOptions(), 1, 200).drivers)
    with pytest.raises(Enough):
        await pings.run()
    sizes = [len(batch.driver_ids) for batch in batches]
    assert sizes[0] == 200
    assert all(1 <= size <= 200 for size in sizes)
    assert len(pings.took_s) == 2
    later = np.concatenate([batch.seq for batch in batches[1:]])
    assert (later >= 2).all()


def test_quantiles_have_the_names_of_the_report() -> None:
    values = [float(n) for n in range(1, 101)]
    assert quantiles("solve", values) == {"solve_p50_ms": 50.0, "solve_p99_ms": 99.0}
    assert quantiles("solve", []) == {"solve_p50_ms": None, "solve_p99_ms": None}


@pytest.mark.parametrize("arguments", [["--drivers", "0"], ["--tasks", "9999"], ["--duration", "600"]])
def test_a_wrong_argument_is_refused(arguments: list[str]) -> None:
    assert CliRunner().invoke(app, ["bench", "plan", *arguments]).exit_code == 2
