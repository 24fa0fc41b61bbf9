"""Why offers were made, and the log of what became of them: kept with the offer, read in pages, swept in bites."""

from __future__ import annotations

import math

import pytest
from msgspec.structs import replace

from domain.orders.lifecycle import OfferStatus, TaskStatus
from domain.orders.records import Answer, Done, OfferRow, Record, RecordRefused, TaskRow
from domain.solve import Candidate, Explanation
from persistence.orders.memory import MemoryStore
from persistence.orders.postgres import PostgresStore
from persistence.reads.memory import MemoryReads
from persistence.reads.reads import Reads
from persistence.reads.views import OfferPage
from tests.contracts.store_world import REGION, START_MS, World, new_id

NEAR = Candidate(driver_id=new_id(), cost=61.5, terms={"travel": 12.0, "delay": 49.5, "p_accept": 0.8})
FAR = Candidate(driver_id=new_id(), cost=240.25, terms={"travel": 190.0, "delay": 50.25, "p_accept": 0.9})
WHY = Explanation(
    candidates=(NEAR, FAR),
    pruned={"shift_ends": 3, "dearer": 12},
    runner_up=FAR.driver_id,
    gap=178.75,
)


def reads_of(world: World) -> Reads | MemoryReads:
    if isinstance(world.store, MemoryStore):
        return MemoryReads(world.store)
    assert world.reads is not None
    return world.reads


def explained(record: Record, why: Explanation = WHY) -> Record:
    return replace(record, offers=tuple(replace(offer, explanation=why) for offer in record.offers))


async def make(world: World, why: Explanation = WHY) -> tuple[TaskRow, OfferRow]:
    """An offer of a new task, explained."""
    task = await world.confirmed()
    record, task, offer = world.offered(task)
    assert await world.append(world.records(explained(record, why))) == [Done(Answer())]
    return task, offer


def rejected(world: World, task: TaskRow, offer: OfferRow) -> Record:
    offer = replace(offer, status=OfferStatus.REJECTED, closed_ms=world.tick(), reason="too far, sorry")
    return Record(
        record_id=new_id(),
        tasks=(replace(task, status=TaskStatus.OPEN, offer_id=None),),
        offers=(offer,),
    )


# -- explanations -----------------------------------------------------------------------------------------------------


async def test_an_explanation_is_kept_with_its_offer(world: World) -> None:
    await world.open()
    _, offer = await make(world)
    plain_record, _, plain = world.offered(await world.confirmed())
    await world.append(world.records(plain_record))
    reads = reads_of(world)
    assert await reads.explanation(offer.offer_id) == WHY
    assert await reads.explanation(plain.offer_id) is None
    assert await reads.explanation(new_id()) is None
    assert await reads.explanation("no id") is None


async def test_an_explanation_comes_back_to_no_region(world: World) -> None:
    await world.open()
    task, offer = await make(world)
    image = await world.store.open_region(REGION, world.now_ms)
    assert image.offers == (offer,)
    world.epoch = image.epoch
    expired, _, gone = world.expired(task, replace(offer, explanation=WHY))
    await world.append(world.records(expired))
    image = await world.store.open_region(REGION, world.now_ms)
    assert image.recent_offers == (replace(gone, explanation=None),)
    found = await reads_of(world).offer(offer.offer_id)
    assert found == replace(gone, explanation=None)


async def test_only_the_making_of_an_offer_is_explained(world: World) -> None:
    await world.open()
    task, offer = await make(world)
    record, bare_task, bare = world.offered(await world.confirmed())
    await world.append(world.records(record))
    other = replace(WHY, gap=-1.0)
    # Written again while it is open, and when it is closed.
    again = Record(record_id=new_id(), offers=(replace(offer, seen_ms=world.tick(), explanation=other),))
    late = Record(record_id=new_id(), offers=(replace(bare, explanation=other),))
    assert await world.append(world.records(again, late)) == [Done(Answer())]
    closed = (explained(world.expired(t, o)[0], other) for t, o in ((task, offer), (bare_task, bare)))
    assert await world.append(world.records(*closed)) == [Done(Answer())]
    reads = reads_of(world)
    assert await reads.explanation(offer.offer_id) == WHY
    assert await reads.explanation(bare.offer_id) is None


async def test_an_offer_made_and_closed_in_one_batch_is_explained(world: World) -> None:
    await world.open()
    made, task, offer = world.offered(await world.confirmed())
    closed, _, _ = world.expired(task, offer)
    await world.append(world.records(explained(made), explained(closed, replace(WHY, gap=0.0))))
    assert await reads_of(world).explanation(offer.offer_id) == WHY


async def test_a_refused_record_leaves_no_explanation(world: World) -> None:
    await world.open()
    record, task, offer = world.offered(await world.confirmed())
    bad = replace(record, tasks=(replace(task, status=TaskStatus.DONE, ended_ms=world.tick()),))
    (outcome,) = await world.append(world.records(explained(bad)))
    assert isinstance(outcome, RecordRefused)
    assert await reads_of(world).explanation(offer.offer_id) is None


async def test_what_is_not_finite_survives(world: World) -> None:
    await world.open()
    barred = replace(FAR, cost=math.inf, terms={"travel": 190.0, "declined": math.inf})
    _, offer = await make(world, replace(WHY, candidates=(NEAR, barred), runner_up=None, gap=None))
    found = await reads_of(world).explanation(offer.offer_id)
    assert found is not None
    assert found.candidates == (NEAR, barred)
    assert (found.runner_up, found.gap) == (None, None)


async def test_old_explanations_are_swept_in_bites_and_their_offers_stay(world: World) -> None:
    assert isinstance(world.store, MemoryStore | PostgresStore)
    await world.open()
    offers = [(await make(world))[1] for _ in range(4)]
    reads, newest_ms = reads_of(world), offers[-1].made_ms

    async def left() -> list[bool]:
        return [await reads.explanation(offer.offer_id) is not None for offer in offers]

    assert await world.store.sweep(START_MS, offers[0].made_ms, 2) == 0
    assert await world.store.sweep(START_MS, newest_ms, 2) == 2
    assert await left() == [False, False, True, True]
    assert await world.store.sweep(START_MS, newest_ms, 2) == 1
    assert await world.store.sweep(START_MS, newest_ms, 2) == 0
    assert await left() == [False, False, False, True]
    assert [await reads.offer(offer.offer_id) for offer in offers] == offers


# -- the offer log ----------------------------------------------------------------------------------------------------


async def test_every_outcome_is_logged_with_the_features_it_was_made_on(world: World) -> None:
    await world.open()
    pairs = []
    for n in range(5):
        record, task, offer = world.offered(await world.confirmed())
        offer = replace(offer, features={"pickup_km": n + 0.5, "p_accept": 0.9})
        await world.append(world.records(replace(record, offers=(offer,))))
        pairs.append((task, replace(offer, seen_ms=world.tick())))
    taken, _, _ = world.taken(*pairs[0])
    refused = rejected(world, *pairs[1])
    expired, _, _ = world.expired(*pairs[2])
    revoked, _, _ = world.expired(*pairs[3])
    revoked = replace(
        revoked,
        offers=tuple(
            replace(offer, status=OfferStatus.REVOKED, reason="CANCELLED") for offer in revoked.offers
        ),
    )
    await world.append(world.records(taken, refused, expired, revoked))
    log = (await reads_of(world).offers()).offers
    assert [(offer.status, offer.reason) for offer in reversed(log)] == [
        (OfferStatus.ACCEPTED, None),
        (OfferStatus.REJECTED, "too far, sorry"),
        (OfferStatus.EXPIRED, "TTL"),
        (OfferStatus.REVOKED, "CANCELLED"),
        (OfferStatus.OFFERED, None),
    ]
    for n, offer in enumerate(reversed(log)):
        assert offer.features == {"pickup_km": n + 0.5, "p_accept": 0.9}
        closed = offer.status is not OfferStatus.OFFERED
        assert (offer.seen_ms is not None, offer.closed_ms is not None) == (closed, closed)


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 50])
async def test_pages_of_the_log_have_every_offer_once(world: World, limit: int) -> None:
    await world.open()
    made = []
    for n in range(7):
        record, _, offer = world.offered(await world.confirmed())
        # Several of the same time, so that the id has to tell them apart.
        offer = replace(offer, made_ms=START_MS + n // 3)
        await world.append(world.records(replace(record, offers=(offer,))))
        made.append(offer)
    made.sort(key=lambda offer: (offer.made_ms, offer.offer_id), reverse=True)
    reads = reads_of(world)
    found: list[OfferRow] = []
    page = OfferPage([], None)
    while page.next is not None or not found:
        assert len(found) < len(made)
        page = await reads.offers(limit=limit, cursor=page.next)
        assert 0 < len(page.offers) <= limit
        found += page.offers
    assert found == made


async def test_the_log_is_read_by_region_status_and_time(world: World) -> None:
    await world.open()
    pairs = []
    for _ in range(4):
        record, task, offer = world.offered(await world.confirmed())
        await world.append(world.records(record))
        pairs.append((task, offer))
    expired, _, _ = world.expired(*pairs[1])
    taken, _, _ = world.taken(*pairs[2])
    await world.append(world.records(expired, taken))
    reads, ids = reads_of(world), [offer.offer_id for _, offer in pairs]

    async def found(**which: object) -> list[int]:
        page = await reads.offers(**which)  # type: ignore[arg-type]
        return sorted(ids.index(offer.offer_id) for offer in page.offers)

    assert await found() == [0, 1, 2, 3]
    assert await found(region_id=REGION) == [0, 1, 2, 3]
    assert await found(region_id="tx-hou") == []
    assert await found(status=[OfferStatus.EXPIRED, OfferStatus.ACCEPTED]) == [1, 2]
    assert await found(status=[OfferStatus.OFFERED]) == [0, 3]
    assert await found(from_ms=pairs[1][1].made_ms, before_ms=pairs[3][1].made_ms) == [1, 2]
    assert await found(from_ms=pairs[3][1].made_ms + 1) == []
