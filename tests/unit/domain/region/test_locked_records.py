"""What rests on a record that waits for a locked row, and what does not."""

from __future__ import annotations

from msgspec.structs import replace

from domain.orders.lifecycle import OfferStatus, OrderEvent, OrderStatus, Role
from domain.orders.records import Answer, OfferRow, OrderFact, Record, StoredAnswer
from domain.region.locked_records import behind, message_subjects, orders_of, subjects
from domain.region.messages import Accept, Attach, Tick
from tests.support.build import ask


def fact(order_id: str) -> OrderFact:
    return OrderFact(
        order_id=order_id,
        event=OrderEvent.GOODS_READY,
        status=OrderStatus.CONFIRMED,
        at_ms=1,
        role=Role.MERCHANT,
        actor_id="max",
    )


def offer(offer_id: str, driver_id: str, *task_ids: str) -> OfferRow:
    return OfferRow(
        offer_id=offer_id,
        region_id="tx-dfw",
        driver_id=driver_id,
        task_ids=task_ids,
        status=OfferStatus.OFFERED,
        made_ms=1,
        expires_ms=2,
        features={},
    )


def record(name: str, **parts: object) -> Record:
    return Record(record_id=name, **parts)  # type: ignore[arg-type]


def test_each_kind_of_subject_ties() -> None:
    stored = StoredAnswer(scope="ann|Accept", key="k", fingerprint="f", answer=Answer(), at_ms=1)
    first = record("first", orders=(fact("o1"),), offers=(offer("f1", "ann", "t1"),), answers=(stored,))
    tied = [
        record("order", orders=(fact("o1"),)),
        record("offer", offers=(replace(offer("f1", "bob", "t9"), status=OfferStatus.EXPIRED),)),
        record("driver", offers=(offer("f2", "ann", "t8"),)),
        record("task", offers=(offer("f3", "cat", "t1"),)),
        record("request", answers=(stored,)),
    ]
    free = record("free", orders=(fact("o2"),), offers=(offer("f4", "dan", "t2"),))
    for one in tied:
        among: set[str] = set()
        assert behind([first, free, one], ("first",), among) == [first, one], one.record_id
        assert among >= subjects(first) | subjects(one)


def test_what_rests_on_what_rests_waits_too_and_what_came_before_does_not() -> None:
    before = record("before", orders=(fact("o1"),))
    locked = record("locked", offers=(offer("f1", "ann", "t1"),))
    middle = record("middle", offers=(offer("f2", "ann", "t2"),))
    last = record("last", offers=(offer("f3", "bob", "t2"),))
    assert behind([before, locked, middle, last], {"locked"}, set()) == [locked, middle, last]
    assert behind([before, locked], (), {"o1"}) == [before]


def test_the_orders_of_records() -> None:
    assert orders_of([record("a", orders=(fact("o1"),)), record("b", orders=(fact("o2"),))]) == {"o1", "o2"}


def test_what_a_message_names() -> None:
    assert message_subjects(ask(Accept(offer_id="f1"), who="ann")) >= {"ann", "f1"}
    attach = Attach(gateway_id="g", driver_id="ann", session=1, resume_from=None)
    assert message_subjects(attach) == {"ann"}
    assert message_subjects(Tick()) == set()
