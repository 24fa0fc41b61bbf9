"""Positions are coalesced, kept while a region is away, and sent again to a new life of it."""

from __future__ import annotations

import asyncio

from domain.errors import RegionUnavailable
from domain.region.messages import DriversSeen
from gateway.deciders.nearest_market import nearest_region
from gateway.sockets.positions import Pings, State


class Regions:
    """Takes batches as a region does; `down` says that it is not serving."""

    def __init__(self) -> None:
        self.batches: list[tuple[str, dict[str, tuple[int, int, float, bool]]]] = []
        self.epoch = 1
        self.down = False
        self.gate: asyncio.Event | None = None

    async def send(self, region_id: str, batch: DriversSeen) -> int:
        if self.gate is not None:
            await self.gate.wait()
        if self.down:
            raise RegionUnavailable()
        rows = zip(
            batch.driver_ids,
            batch.session.tolist(),
            batch.seq.tolist(),
            batch.lat.tolist(),
            batch.on_duty.tolist(),
            strict=True,
        )
        self.batches.append((region_id, {row[0]: row[1:] for row in rows}))
        return self.epoch


def make(regions: Regions, anew: list[str] | None = None) -> Pings:
    told = anew if anew is not None else []
    return Pings("gateway:0", regions.send, flush_s=0.01, keep_s=60.0, on_new_epoch=told.append)


def state(
    driver_id: str, seq: int = 1, *, session: int = 9, region_id: str = "r", at_s: float = 0.0
) -> State:
    return State(driver_id, region_id, session, seq, 32.0 + seq, -96.0, True, at_s)


async def flush(pings: Pings) -> None:
    pings.flush()
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def test_the_newest_of_each_driver_goes_in_one_message() -> None:
    regions = Regions()
    pings = make(regions)
    for seq in (1, 2, 3):
        pings.put(state("a", seq))
    pings.put(state("b"))
    await flush(pings)
    await flush(pings)
    assert regions.batches == [("r", {"a": (9, 3, 35.0, True), "b": (9, 1, 33.0, True)})]


async def test_a_ping_moves_the_state_that_is_there() -> None:
    regions = Regions()
    pings = make(regions)
    first, second = state("a"), state("a", session=10)
    pings.put(first)
    pings.move(first, 33.5, -96.0)
    await flush(pings)
    pings.put(second)
    pings.move(first, 40.0, -96.0)  # of the socket before
    await flush(pings)
    pings.move(second, 34.0, -96.0)
    await flush(pings)
    assert [batch["a"] for _, batch in regions.batches] == [
        (9, 2, 33.5, True),
        (10, 1, 33.0, True),
        (10, 2, 34.0, True),
    ]


async def test_one_call_at_a_time_for_each_region() -> None:
    regions = Regions()
    regions.gate = asyncio.Event()
    pings = make(regions)
    pings.put(state("a", 1))
    await flush(pings)
    for seq in range(2, 50):
        pings.put(state("a", seq))
        await flush(pings)
    regions.gate.set()
    await asyncio.sleep(0.01)
    await flush(pings)
    assert [batch["a"][1] for _, batch in regions.batches] == [1, 49]


async def test_what_could_not_be_sent_waits_unless_newer_came() -> None:
    regions = Regions()
    regions.down = True
    pings = make(regions)
    pings.put(state("a", 1))
    pings.put(state("b", 1))
    await flush(pings)
    pings.put(state("a", 2))
    regions.down = False
    await flush(pings)
    assert regions.batches == [("r", {"a": (9, 2, 34.0, True), "b": (9, 1, 33.0, True)})]


async def test_a_new_life_of_a_region_hears_everything_again() -> None:
    regions = Regions()
    anew: list[str] = []
    pings = make(regions, anew)
    pings.put(state("a"))
    pings.put(state("b"))
    pings.put(state("elsewhere", region_id="q"))
    await flush(pings)
    await pings.closed("b", 9)
    regions.epoch = 2
    regions.batches.clear()
    pings.put(state("c"))
    await flush(pings)
    assert anew == ["r"]
    await flush(pings)
    assert [sorted(batch) for region_id, batch in regions.batches if region_id == "r"] == [["c"], ["a", "c"]]


async def test_the_end_of_a_duty_is_sent_before_the_socket_is_forgotten() -> None:
    regions = Regions()
    pings = make(regions)
    pings.put(state("a", 1))
    await pings.closed("a", 9)
    assert regions.batches == [("r", {"a": (9, 1, 33.0, True)})]
    assert not pings.is_current("a")
    last = pings.last("a")
    assert last is not None
    assert last.seq == 1


async def test_a_former_sockets_end_changes_nothing() -> None:
    regions = Regions()
    pings = make(regions)
    pings.put(state("a", 1, session=10))
    await pings.closed("a", 9)
    assert pings.is_current("a")


async def test_drivers_without_a_socket_are_forgotten_after_a_while() -> None:
    pings = make(Regions())
    pings.put(state("rest", session=0, at_s=0.0))
    pings.put(state("socket", session=9, at_s=0.0))
    pings.put(state("gone", session=9, at_s=0.0))
    await pings.closed("gone", 9)
    pings.forget(59.0)
    assert pings.last("rest") is not None
    pings.forget(61.0)
    assert pings.last("rest") is None
    assert pings.last("gone") is None
    assert pings.last("socket") is not None


def test_a_place_belongs_to_the_nearest_market() -> None:
    regions = ("tx-dfw", "tx-hou", "tx-aus")
    assert nearest_region(regions, 29.7, -95.4) == "tx-hou"
    assert nearest_region(regions, 30.3, -97.7) == "tx-aus"
    assert nearest_region(("tx-dfw",), 29.7, -95.4) == "tx-dfw"
