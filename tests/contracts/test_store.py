"""What every store promises, see `domain.ports.Store`: one suite over the one in memory and the one on Postgres."""

from __future__ import annotations

import msgspec
import pytest
from msgspec.structs import replace

from domain.orders.commands import CancelOrder, CloseOrder, CreateOrder, MerchantReject, OrderItem
from domain.orders.dossier import verify
from domain.orders.lifecycle import OfferStatus, OrderEvent, OrderStatus, Role, TaskStatus
from domain.orders.records import (
    Answer,
    Done,
    Fenced,
    OrderBrief,
    Record,
    RecordRefused,
    StoredAnswer,
    TaskRow,
)
from domain.ports import Channel
from persistence.orders.memory import MemoryStore
from persistence.orders.postgres import PostgresStore
from tests.contracts.store_world import REGION, World, new_id

# -- orders -----------------------------------------------------------------------------------------------------------


async def test_an_order_goes_from_draft_to_confirmed(world: World) -> None:
    order_id = await world.draft()
    assert await world.status(order_id) == ("DRAFT", 1)
    assert (await world.answer(world.age(order_id))).body == {
        "id": order_id,
        "status": "AGE_VERIFIED",
        "version": 2,
    }
    await world.answer(world.pay(order_id))
    accept = world.accept(order_id)
    (outcome,) = await world.append(accept)
    assert isinstance(outcome, Done)
    assert outcome.opened is not None
    task, brief = outcome.opened
    assert (task.status, task.min_age, task.ready_ms) == (TaskStatus.OPEN, 21, accept.at_ms + 600_000)
    assert brief == OrderBrief(
        order_id=order_id,
        status=OrderStatus.CONFIRMED,
        customer_id=world.customer_id,
        merchant_id=world.merchant_id,
    )
    assert await world.status(order_id) == ("CONFIRMED", 4)
    assert await world.task(task.task_id) == task


async def test_commands_for_one_order_in_one_batch_see_each_other(world: World) -> None:
    task = await world.confirmed()
    assert await world.status(task.order_id) == ("CONFIRMED", 4)


async def test_a_refused_command_is_an_answer_and_the_others_commit(world: World) -> None:
    order_id = await world.draft()
    paid, aged = await world.append(world.pay(order_id), world.age(order_id))
    assert isinstance(paid, Done)
    assert paid.answer.code == "WRONG_STATE"
    assert isinstance(aged, Done)
    assert aged.answer.code is None
    assert await world.status(order_id) == ("AGE_VERIFIED", 2)


async def test_a_failed_attempt_is_on_record_and_counts(world: World) -> None:
    order_id = await world.draft()
    for _ in range(3):
        assert (await world.answer(world.age(order_id, passed=False))).code == "AGE_NOT_VERIFIED"
    assert (await world.answer(world.age(order_id))).code == "AGE_ATTEMPTS_EXHAUSTED"
    assert [entry.type for entry in await world.dossier(order_id)] == [
        "ORDER_CREATED",
        *["AGE_CHECK_FAILED"] * 3,
    ]


async def test_another_customers_order_is_not_found(world: World) -> None:
    order_id = await world.draft()
    answer = await world.answer(world.age(order_id, principal_id=new_id()))
    assert answer.code == "NOT_FOUND"
    assert (await world.answer(world.age(new_id()))).code == "NOT_FOUND"
    assert (await world.answer(world.age("no-id"))).code == "NOT_FOUND"
    assert (
        await world.answer(world.command(order_id, MerchantReject(), Role.MERCHANT, principal_id=new_id()))
    ).code == "NOT_FOUND"


@pytest.mark.parametrize("what", ["store", "product", "malformed product"])
async def test_what_the_store_does_not_have_is_not_found(world: World, what: str) -> None:
    create = world.create()
    assert isinstance(create.action, CreateOrder)
    items = (
        (OrderItem(new_id() if what == "product" else "x", 1),) if "product" in what else create.action.items
    )
    store_id = new_id() if what == "store" else world.store_id
    action = replace(create.action, store_id=store_id, items=items)
    assert (await world.answer(replace(create, action=action))).code == "NOT_FOUND"


async def test_if_match_refuses_a_stale_version(world: World) -> None:
    order_id = await world.draft()
    assert (await world.answer(world.age(order_id, if_match=(2,)))).code == "VERSION_MISMATCH"
    first, second = await world.append(world.age(order_id, if_match=(1,)), world.pay(order_id, if_match=(1,)))
    assert isinstance(first, Done)
    assert first.answer.code is None
    assert isinstance(second, Done)
    assert second.answer.code == "VERSION_MISMATCH"


async def test_an_order_id_is_used_once(world: World) -> None:
    order_id = await world.draft()
    assert (await world.answer(world.create(order_id))).code == "INTERNAL_CONFLICT"
    assert await world.status(order_id) == ("DRAFT", 1)


# -- idempotency ------------------------------------------------------------------------------------------------------


async def test_a_repeat_gets_the_first_answer_and_does_nothing(world: World) -> None:
    create = world.create()
    first = await world.answer(create)
    again = await world.answer(replace(create, order_id=new_id()))
    assert again == first
    assert list(again.body) == list(first.body)  # in the same order, so that the response is the same
    assert len(await world.dossier(create.order_id)) == 1


async def test_a_repeat_of_a_refusal_gets_the_refusal(world: World) -> None:
    order_id = await world.draft()
    pay = world.pay(order_id)
    assert (await world.answer(pay)).code == "WRONG_STATE"
    await world.answer(world.age(order_id))
    assert (await world.answer(pay)).code == "WRONG_STATE"


async def test_a_repeat_opens_no_second_task(world: World) -> None:
    order_id = await world.draft()
    accept = world.accept(order_id)
    first, second = (await world.append(world.age(order_id), world.pay(order_id), accept, accept))[2:]
    assert isinstance(first, Done)
    assert isinstance(second, Done)
    assert second.answer == first.answer
    assert first.opened is not None
    assert second.opened is None


@pytest.mark.parametrize("together", [True, False])
async def test_a_key_with_another_request_is_refused(world: World, together: bool) -> None:
    create = world.create()
    other = world.create(scope=create.scope, key=create.key, fingerprint="g")
    if together:
        outcomes = await world.append(create, other)
    else:
        outcomes = [*await world.append(create), *await world.append(other)]
    assert isinstance(outcomes[1], Done)
    assert outcomes[1].answer.code == "IDEMPOTENCY_KEY_REUSED"
    assert await world.status(other.order_id) is None
    assert await world.status(create.order_id) == ("DRAFT", 1)


async def test_a_key_belongs_to_its_scope(world: World) -> None:
    create = world.create()
    other = world.create(scope="someone else", key=create.key, fingerprint="g")
    assert (await world.answer(create)).code is None
    assert (await world.answer(other)).code is None


async def test_the_move_of_the_decider_is_not_remembered(world: World) -> None:
    task = await world.confirmed()
    cancel = world.command(task.order_id, CancelOrder())
    assert (await world.answer(cancel)).code == "DECIDER_MOVED"
    await world.open()
    fact = replace(world.fact(task, OrderEvent.CANCELLED, OrderStatus.CANCELLED), role=Role.CUSTOMER)
    gone = replace(task, status=TaskStatus.CANCELLED, ended_ms=world.tick())
    stored = StoredAnswer(
        scope=cancel.scope, key=cancel.key, fingerprint="f", answer=Answer(body={"by": "region"}), at_ms=1
    )
    record = Record(record_id=new_id(), tasks=(gone,), orders=(fact,), answers=(stored,))
    assert await world.append(world.records(record)) == [Done(Answer())]
    assert (await world.answer(cancel)).body == {"by": "region"}


async def test_old_answers_are_swept(world: World) -> None:
    assert isinstance(world.store, MemoryStore | PostgresStore)
    create = world.create()
    await world.answer(create)
    assert await world.store.sweep(create.at_ms, create.at_ms, 10) == 0
    assert await world.store.sweep(create.at_ms + 1, create.at_ms, 10) == 1
    assert (await world.answer(create)).code == "INTERNAL_CONFLICT"  # no longer known as a repeat


# -- fencing ----------------------------------------------------------------------------------------------------------


async def test_a_stale_epoch_writes_nothing(world: World) -> None:
    task = await world.confirmed()
    await world.open()
    old = world.epoch
    await world.open()
    record, _, _ = world.offered(task)
    assert await world.append(world.records(record, epoch=old)) == [Fenced(world.epoch)]
    assert await world.task(task.task_id) == task
    assert await world.append(world.records(record, epoch=world.epoch + 1)) == [Fenced(world.epoch)]
    assert await world.append(world.records(record)) == [Done(Answer())]


async def test_a_region_that_was_never_opened_is_fenced(world: World) -> None:
    task = await world.confirmed()
    record, _, _ = world.offered(task)
    assert await world.append(world.records(record, epoch=1)) == [Fenced(0)]


async def test_a_fenced_command_does_not_stop_the_others(world: World) -> None:
    one, two = await world.confirmed(), await world.confirmed()
    await world.open()
    await world.open()
    stale, _, _ = world.offered(one)
    fresh, offered, _ = world.offered(two)
    create = world.create()
    outcomes = await world.append(world.records(stale, epoch=1), world.records(fresh), create)
    assert outcomes[:2] == [Fenced(2), Done(Answer())]
    assert await world.task(one.task_id) == one
    assert await world.task(two.task_id) == offered
    assert await world.status(create.order_id) == ("DRAFT", 1)


# -- a region's records -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batches", ["one batch", "one command", "one by one"])
async def test_a_delivery_from_offer_to_close(world: World, batches: str) -> None:
    task = await world.confirmed()
    await world.open()
    records, at_door = world.to_door(task)
    records += world.delivered(at_door)
    if batches == "one command":
        assert await world.append(world.records(*records)) == [Done(Answer())]
    elif batches == "one batch":
        assert await world.append(*map(world.records, records)) == [Done(Answer())] * len(records)
    else:
        for record in records:
            assert await world.append(world.records(record)) == [Done(Answer())]
    assert await world.status(task.order_id) == ("DELIVERED", 10)
    done = await world.task(task.task_id)
    assert done is not None
    assert (done.status, done.driver_id) == (TaskStatus.DONE, world.driver_id)
    close = world.command(task.order_id, CloseOrder("pay-1"), Role.SYSTEM)
    assert (await world.answer(close)).body["status"] == "CLOSED"
    dossier = await world.dossier(task.order_id)
    assert verify(dossier).ok
    assert [entry.type for entry in dossier][-3:] == ["ID_CHECK_PASSED", "DELIVERED", "ORDER_CLOSED"]


async def test_a_refusal_at_the_door_opens_a_return(world: World) -> None:
    task = await world.confirmed()
    await world.open()
    records, at_door = world.to_door(task)
    refused, back = world.sent_back(at_door)
    assert await world.append(world.records(*records, refused)) == [Done(Answer())]
    assert await world.status(task.order_id) == ("RETURNING", 10)
    assert await world.task(back.task_id) == back
    arrived, back = world.moved(
        back, TaskStatus.AT_DROPOFF, OrderEvent.ARRIVED_FOR_RETURN, OrderStatus.RETURNING
    )
    home, back = world.moved(back, TaskStatus.DONE, OrderEvent.RETURN_CONFIRMED, OrderStatus.RETURNED)
    assert await world.append(world.records(arrived), world.records(home)) == [Done(Answer())] * 2
    assert await world.status(task.order_id) == ("RETURNED", 12)
    assert verify(await world.dossier(task.order_id)).ok


async def test_a_fact_may_move_the_ready_time(world: World) -> None:
    task = await world.confirmed()
    await world.open()
    at_ms = world.tick()
    fact = replace(world.fact(task, OrderEvent.GOODS_READY, OrderStatus.CONFIRMED), ready_ms=at_ms)
    record = Record(record_id=new_id(), tasks=(replace(task, ready_ms=at_ms),), orders=(fact,))
    assert await world.append(world.records(record)) == [Done(Answer())]
    moved = await world.task(task.task_id)
    assert moved is not None
    assert moved.ready_ms == at_ms


async def test_an_offer_of_several_tasks(world: World) -> None:
    one, two = await world.confirmed(), await world.confirmed()
    await world.open()
    record, one, offer = world.offered(one)
    offer = replace(offer, task_ids=(one.task_id, two.task_id))
    two = replace(two, status=TaskStatus.OFFERED, offer_id=offer.offer_id)
    record = replace(record, tasks=(one, two), offers=(offer,))
    taken, one, _ = world.taken(one, offer)
    two = replace(two, status=TaskStatus.ASSIGNED, driver_id=offer.driver_id)
    fact = world.fact(two, OrderEvent.ASSIGNED, OrderStatus.ASSIGNED)
    taken = replace(taken, tasks=(one, two), orders=(*taken.orders, fact))
    assert await world.append(world.records(record, taken)) == [Done(Answer())]
    assert await world.status(two.order_id) == ("ASSIGNED", 5)


@pytest.mark.parametrize("batches", ["one", "each"])
async def test_two_drivers_are_asked_at_once_and_the_second_takes_it(world: World, batches: str) -> None:
    task = await world.confirmed()
    await world.open()
    made, task, first = world.offered(task, new_id())
    beside = replace(first, offer_id=new_id(), driver_id=world.driver_id)
    made = replace(made, offers=(first, beside))
    shown = replace(beside, seen_ms=world.tick(), expires_ms=beside.expires_ms + 5_000)
    renamed = replace(task, offer_id=beside.offer_id)
    taken, _, accepted = world.taken(renamed, shown)
    revoked = replace(first, status=OfferStatus.REVOKED, closed_ms=accepted.closed_ms, reason="TAKEN")
    records = [
        made,
        Record(record_id=new_id(), offers=(shown,)),
        Record(record_id=new_id(), tasks=(renamed,)),
        replace(taken, offers=(accepted, revoked)),
    ]
    if batches == "one":
        assert await world.append(world.records(*records)) == [Done(Answer())]
    else:
        for record in records:
            assert await world.append(world.records(record)) == [Done(Answer())]
    held = await world.task(task.task_id)
    assert held is not None
    assert (held.offer_id, held.driver_id) == (beside.offer_id, world.driver_id)
    image = await world.store.open_region(REGION, world.now_ms)
    assert {offer.offer_id: offer for offer in image.recent_offers} == {
        first.offer_id: revoked,
        beside.offer_id: accepted,
    }


async def test_a_task_offered_again_and_again_in_one_batch(world: World) -> None:
    task = await world.confirmed()
    await world.open()
    records = []
    for _ in range(5):
        record, task, offer = world.offered(task, new_id())
        records.append(record)
        record, task, _ = world.expired(task, offer)
        records.append(record)
    assert await world.append(*map(world.records, records)) == [Done(Answer())] * 10
    image = await world.store.open_region(REGION, world.now_ms)
    assert [offer.status for offer in image.recent_offers] == [OfferStatus.EXPIRED] * 5
    assert image.counters["offers_made"] == 5
    assert image.counters["offers_expired"] == 5


# -- the dossier and the outbox ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [TaskStatus.ASSIGNED, TaskStatus.AT_PICKUP])
async def test_a_task_goes_from_a_lost_driver_to_another_and_to_the_door(
    world: World, at: TaskStatus
) -> None:
    task = await world.confirmed()
    await world.open()
    made, task, offer = world.offered(task)
    accepted, task, offer = world.taken(task, offer)
    records = [made, accepted]
    if at is TaskStatus.AT_PICKUP:
        arrived, task = world.moved(task, at, OrderEvent.ARRIVED_AT_STORE, OrderStatus.ASSIGNED)
        records.append(arrived)
    released, task = world.released(task)
    assert await world.append(world.records(*records, released)) == [Done(Answer())]
    assert await world.task(task.task_id) == task
    assert (await world.status(task.order_id) or ("", 0))[0] == "CONFIRMED"
    image = await world.store.open_region(task.region_id, world.now_ms)
    world.epoch = image.epoch
    assert (image.tasks, image.offers) == ((task,), ())
    assert offer in image.recent_offers
    # To another, and all the way.
    world.driver_id = new_id()
    again, at_door = world.to_door(task)
    assert await world.append(world.records(*again, *world.delivered(at_door))) == [Done(Answer())]
    dossier = await world.dossier(task.order_id)
    assert [entry.type for entry in dossier].count("TASK_ASSIGNED") == 2
    assert [entry.actor for entry in dossier if entry.type == "TASK_RELEASED"] == [f"system:{task.region_id}"]
    assert verify(dossier).ok
    done = await world.task(task.task_id)
    assert done is not None
    assert (done.status, done.driver_id) == (TaskStatus.DONE, world.driver_id)


async def test_dossiers_verify_after_many_mixed_batches(world: World) -> None:
    await world.open()
    tasks = [await world.confirmed() for _ in range(6)]
    lines = []
    for task in tasks:
        records, at_door = world.to_door(task)
        lines.append([*records, *world.delivered(at_door)])
    for step in range(0, 7, 2):  # two steps of every order in each batch
        batch = [world.records(record) for line in lines for record in line[step : step + 2]]
        assert await world.append(*batch, world.create()) is not None
    for task in tasks:
        dossier = await world.dossier(task.order_id)
        verdict = verify(dossier)
        assert (verdict.ok, verdict.length) == (True, 10)
        assert [entry.seq for entry in dossier] == list(range(1, 11))
        assert await world.status(task.order_id) == ("DELIVERED", 10)


async def test_the_outbox_has_each_fact_once_and_nothing_of_what_was_refused(world: World) -> None:
    order_id = await world.draft()
    await world.append(world.pay(order_id), world.age(order_id))
    await world.open()
    task = await world.confirmed()
    bad = Record(record_id=new_id(), orders=(world.fact(task, OrderEvent.DELIVERED, OrderStatus.DELIVERED),))
    (refused,) = await world.append(world.records(bad))
    assert isinstance(refused, RecordRefused)
    events = await world.waiting(Channel.BUS)
    assert [event.event_id for event in events] == sorted({event.event_id for event in events})
    for id_ in (order_id, task.order_id):
        dossier = await world.dossier(id_)
        published = [event for event in events if event.aggregate_id == id_]
        assert [(event.topic, event.payload["seq"]) for event in published] == [
            (f"order.{entry.type.lower()}", entry.seq) for entry in dossier
        ]
        assert [event.payload["hash"] for event in published] == [entry.hash.hex() for entry in dossier]
    await world.store.outbox_done([event.event_id for event in events[:3]])
    assert await world.waiting(Channel.BUS) == events[3:]
    assert await world.store.outbox_batch(Channel.BUS, 1) == events[3:4]


async def test_the_servers_own_work_waits_in_channels_of_its_own(world: World) -> None:
    order_id = await world.draft()
    accept = world.accept(order_id)
    done = (await world.append(world.age(order_id), world.pay(order_id), accept))[-1]
    assert isinstance(done, Done)
    assert done.opened is not None
    task, brief = done.opened
    (event,) = await world.waiting(Channel.TASKS)
    assert (event.topic, event.region_id) == ("task.opened", REGION)
    assert msgspec.convert(event.payload["task"], TaskRow) == task
    assert msgspec.convert(event.payload["order"], OrderBrief) == brief
    await world.open()
    records, at_door = world.to_door(task)
    await world.append(world.records(*records, *world.delivered(at_door)))
    (settle,) = await world.waiting(Channel.PAYMENTS)
    assert (settle.topic, settle.payload) == (
        "payment.settle",
        {"status": "DELIVERED", "payment_ref": "pay-1", "total_cents": 2 * 1299 + 450 + 499 + 292},
    )
    await world.answer(world.command(order_id, CloseOrder("pay-1"), Role.SYSTEM))
    assert await world.waiting(Channel.PAYMENTS) == [settle]


# -- opening a region -------------------------------------------------------------------------------------------------


async def test_an_image_gives_back_what_was_written(world: World) -> None:
    await world.open()
    idle, offered, held, delivered = [await world.confirmed() for _ in range(4)]
    other_driver = new_id()
    open_record, offered, live = world.offered(offered, other_driver)
    first, held, offer = world.offered(held)
    second, held, accepted = world.taken(held, offer)
    records, at_door = world.to_door(delivered)
    records += world.delivered(at_door)
    await world.append(*map(world.records, [open_record, first, second, *records]))
    image = await world.store.open_region(REGION, world.now_ms)
    assert image.epoch == world.epoch + 1
    assert image.tasks == (idle, offered, held)
    assert [(brief.order_id, brief.status) for brief in image.orders] == [
        (idle.order_id, OrderStatus.CONFIRMED),
        (offered.order_id, OrderStatus.CONFIRMED),
        (held.order_id, OrderStatus.ASSIGNED),
    ]
    assert image.offers == (live,)
    assert image.recent_offers[0] == accepted
    assert [offer.status for offer in image.recent_offers] == [OfferStatus.ACCEPTED] * 2
    assert [(task.task_id, task.status) for task in image.recent_tasks] == [
        (delivered.task_id, TaskStatus.DONE)
    ]
    assert [stored.answer.body["offer_id"] for stored in image.answers] == [
        offer.offer_id for offer in image.recent_offers
    ]
    assert list(image.answers[0].answer.body) == ["z", "a", "offer_id"]
    assert image.counters == {
        "orders": 4,
        "delivered": 1,
        "refused": 0,
        "returned": 0,
        "cancelled": 0,
        "offers_made": 3,
        "offers_accepted": 2,
        "offers_rejected": 0,
        "offers_expired": 0,
        "offers_revoked": 0,
    }
    # A task that a region may still be told of is remembered as ended, however long ago that was.
    later = await world.store.open_region(REGION, world.now_ms + 3_600_000)
    assert [task.task_id for task in later.recent_tasks] == [delivered.task_id]
    opened = await world.waiting(Channel.TASKS)
    await world.store.outbox_done([event.event_id for event in opened])
    later = await world.store.open_region(REGION, world.now_ms + 3_600_000)
    assert (later.recent_offers, later.recent_tasks) == ((), ())
    assert later.answers == image.answers
    empty = await world.store.open_region("tx-aus", world.now_ms)
    assert (empty.epoch, empty.tasks, empty.answers) == (1, (), ())


async def test_an_answer_that_is_there_stays(world: World) -> None:
    task = await world.confirmed()
    await world.open()
    made, offered, offer = world.offered(task)
    taken, taken_task, _ = world.taken(offered, offer)
    stored = taken.answers[0]
    await world.append(world.records(made, taken))
    step, _ = world.moved(
        taken_task,
        TaskStatus.AT_PICKUP,
        OrderEvent.ARRIVED_AT_STORE,
        OrderStatus.ASSIGNED,
        answers=(replace(stored, answer=Answer("OFFER_TAKEN")),),
    )
    assert await world.append(world.records(step)) == [Done(Answer())]
    image = await world.store.open_region(REGION, world.now_ms)
    assert image.answers == (stored,)


async def test_an_append_of_nothing_is_nothing(world: World) -> None:
    assert await world.append() == []
    await world.open()
    assert await world.append(world.records()) == [Done(Answer())]
