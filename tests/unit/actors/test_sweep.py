"""The persistence actor forgets what has had its time, by the server's clock."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from actors import persistence
from actors.config import Limits
from actors.persistence import PersistenceShell
from actors.relay import Relay
from domain.records import OfferRow
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
    monkeypatch.setattr(persistence, "SWEEP_EVERY_S", 0.0)
    store = HeldStore()
    world = await World(store.inner).seed()
    await world.open()
    offers = [await explained_offer(world) for _ in range(2)]
    limits = Limits(explain_keep_s=keep_s, idempotency_ttl_s=1e6)
    clock = HandClock(hand=[offers[1].made_ms + 100_000])

    async def tell(region_id: str, opened: object) -> None: ...

    relay = Relay(store.inner, bus=Bus(), payment=Payments(), tell_region=tell, clock=clock, limits=limits)
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
