"""The persistence actor forgets what has had its time, by the server's clock."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from actors.config import Limits
from actors.persistence import shell as persistence_shell
from actors.persistence.carriers.registry import carriers
from actors.persistence.relay import Relay
from actors.persistence.shell import PersistenceShell
from domain.orders.records import OfferRow
from domain.solve import Explanation
from tests.contracts.store_world import World
from tests.support.shells import Bus, HandClock, HeldStore, Payments, until


async def explained_offer(world: World) -> OfferRow:
    record, _, offer = world.offered(await world.confirmed())
    why = Explanation(candidates=(), pruned={})
    await world.append(world.records(replace(record, offers=(replace(offer, explanation=why),))))
    return offer


@pytest.mark.parametrize(("keep_s", "left"), [(3600.0, 2), (100.0, 1), (0.0, 0)])
async def test_explanations_go_after_their_time(
    monkeypatch: pytest.MonkeyPatch, keep_s: float, left: int
) -> None:
    monkeypatch.setattr(persistence_shell, "SWEEP_EVERY_S", 0.0)
    store = HeldStore()
    world = await World(store.inner).seed()
    await world.open()
    offers = [await explained_offer(world) for _ in range(2)]
    limits = Limits(explain_keep_s=keep_s, idempotency_ttl_s=1e6)
    clock = HandClock(hand=[offers[1].made_ms + 100_000])

    async def tell(region_id: str, opened: object) -> None: ...

    relay = Relay(
        store.inner,
        carriers(store.inner, limits, bus=Bus(), payment=Payments(), tell_region=tell, clock=clock),
        lease_s=5.0,
    )
    shell = PersistenceShell(store, relay, clock, limits)
    if left == 0:
        clock.forward(0.001)
    shell.start()
    try:
        await until(lambda: len(store.inner.explanations) <= left)
        for _ in range(20):  # further rounds take no more
            await asyncio.sleep(0)
        assert list(store.inner.explanations) == [offer.offer_id for offer in offers[2 - left :]]
        assert len(store.inner.offers) == 2
        assert store.inner.answers
    finally:
        await shell.stop()


async def test_a_round_goes_on_until_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """However much was written since the last one: a bite a round would fall behind a busy server."""
    monkeypatch.setattr(persistence_shell, "SWEEP_LIMIT", 3)
    store = HeldStore()
    world = await World(store.inner).seed()
    for _ in range(20):
        await world.draft()
    limits, clock = Limits(idempotency_ttl_s=60.0), HandClock(hand=[world.now_ms + 61_000])

    async def tell(region_id: str, opened: object) -> None: ...

    relay = Relay(
        store.inner,
        carriers(store.inner, limits, bus=Bus(), payment=Payments(), tell_region=tell, clock=clock),
        lease_s=5.0,
    )
    shell = PersistenceShell(store, relay, clock, limits)
    assert len(store.inner.answers) == 20
    assert await shell._in_bites(shell._sweep_some) >= 20
    assert store.inner.answers == {}


async def test_a_sweep_leaves_time_for_others_and_stops_without_the_lease(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(persistence_shell, "SWEEP_LIMIT", 1)
    monkeypatch.setattr(persistence_shell, "SWEEP_LEASE_S", 0.0)  # asked for before every bite
    store, waits = HeldStore(), list[float]()
    limits, clock = Limits(), HandClock(hand=[0])

    async def tell(region_id: str, opened: object) -> None: ...

    relay = Relay(
        store.inner,
        carriers(store.inner, limits, bus=Bus(), payment=Payments(), tell_region=tell, clock=clock),
        lease_s=5.0,
    )
    shell = PersistenceShell(store, relay, clock, limits)
    bites = 0

    async def bite() -> int:
        nonlocal bites
        bites += 1
        began = asyncio.get_running_loop().time()
        await until(lambda: asyncio.get_running_loop().time() > began + 0.01)
        if bites == 3:
            await store.inner.release(shell._holder)
            assert await store.inner.lease("sweep", "another", 60)
        return 1

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    assert await shell._in_bites(bite) == 3
    assert len(waits) >= 3
    assert min(wait for wait in waits if wait > 0.01) >= 4 * 0.01, "four times as long as the bite took"
