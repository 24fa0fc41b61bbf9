"""What goes between actors as bytes comes out as it went in, and nothing else comes out."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime
from random import Random
from typing import Any, get_args

import msgspec
import numpy as np
import pytest

from actors.telemetry.tracing import Carried, Origin
from actors.wire import APPEND, POST, Posted
from bench.throughput.order_commands import Life, Shop
from domain.orders.commands import (
    AbandonPayment,
    BeginAgeCheck,
    BeginPayment,
    CancelOrder,
    CloseOrder,
    CreateOrder,
    MerchantAccept,
    MerchantReject,
    OrderAction,
    OrderCommand,
    OrderItem,
    PaymentAction,
    RecordAgeCheck,
    RecordPayment,
    SettlePayment,
)
from domain.orders.lifecycle import OrderStatus, Role, TaskKind, TaskStatus
from domain.orders.reasons import (
    CancelReason,
    DeclineReason,
    DispatchReason,
    RefuseReason,
    RejectReason,
    Resolution,
)
from domain.orders.records import (
    Answer,
    CheckOutcome,
    Done,
    Fenced,
    Held,
    OrderBrief,
    Outcome,
    RecordRefused,
    RegionRecords,
    TaskRow,
)
from domain.protocol import Snapshot
from domain.region.messages import (
    Accept,
    Acked,
    Action,
    Arrive,
    Ask,
    Assign,
    Attach,
    Attached,
    Cancel,
    ConfirmReturn,
    Deliver,
    Detach,
    Device,
    DispatchTick,
    ExpireOffers,
    GatewayLost,
    GoodsReady,
    NoteIdCheck,
    OfferSeenBy,
    Pickup,
    Reassign,
    Refuse,
    Reject,
    Release,
    Resolve,
    SubmitIdCheck,
    TaskOpened,
)

A, B = "00000000-0000-4000-8000-00000000000a", "00000000-0000-4000-8000-00000000000b"
LARGE = 10**18 - 1  # the largest version that a client may name
TASK = TaskRow(
    task_id=A,
    order_id=B,
    region_id="tx-dfw",
    kind=TaskKind.DELIVERY,
    status=TaskStatus.OPEN,
    store_id=A,
    pickup_lat=32.8,
    pickup_lng=-96.8,
    dropoff_lat=32.9,
    dropoff_lng=-96.7,
    dropoff_address="12 Elm Straße, 公園",
    min_age=21,
    opened_ms=1,
    ready_ms=2,
    due_ms=3,
)
BRIEF = OrderBrief(order_id=B, status=OrderStatus.CONFIRMED, customer_id=A, merchant_id=B)

ORDER_ACTIONS: tuple[OrderAction | PaymentAction, ...] = (
    CreateOrder(
        store_id=A,
        items=(OrderItem(B, 1), OrderItem(A, 2)),
        dropoff_lat=32.0,
        dropoff_lng=-96.80000000000001,
        dropoff_address="e\u0301 👩\u200d👧",
    ),
    BeginAgeCheck(A),
    RecordAgeCheck(A, CheckOutcome.REVIEW, "age:1"),
    BeginPayment("0" * 32, 20_000),
    RecordPayment(True, "pay:1", None),
    AbandonPayment(3, 2**53),
    MerchantAccept(A, None),
    MerchantAccept(A, 600.0),
    MerchantReject(RejectReason.UNSPECIFIED),
    CancelOrder(CancelReason.UNSPECIFIED),
    CloseOrder("pay:1"),
    SettlePayment(True, "pay:1"),
)
ACTIONS: tuple[Action, ...] = (
    Accept(offer_id=A),
    Reject(task_id=B, reason=next(iter(DeclineReason))),
    Arrive(A),
    Pickup(A),
    SubmitIdCheck(A, True, False, True, False, "scan", "id:1"),
    NoteIdCheck(A, CheckOutcome.UNAVAILABLE, True, "manual_entry"),
    Deliver(A),
    Refuse(A, next(iter(RefuseReason))),
    ConfirmReturn(A),
    Cancel(A),
    GoodsReady(A),
    ExpireOffers(7),
    DispatchTick(),
    Assign(A, B, DispatchReason.NO_DRIVER),
    Reassign(A, B, DispatchReason.BETTER_FIT),
    Release(A, DispatchReason.DRIVER_ASKED),
    Resolve(A, Resolution.LOST, "incident:1"),
)


def command(action: OrderAction | PaymentAction, if_match: tuple[int, ...] | None = None) -> OrderCommand:
    return OrderCommand(
        scope=f"{A}|POST /v1/orders",
        key="~ key !",
        fingerprint="0" * 64,
        role=Role.CUSTOMER,
        principal_id=A,
        order_id=B,
        at_ms=1_700_000_000_000,
        action=action,
        if_match=if_match,
    )


def ask(action: Action, device: Device | None = None) -> Ask:
    return Ask(
        scope="s", key="k", fingerprint="f", role=Role.DRIVER, principal_id=A, action=action, device=device
    )


def test_commands_of_every_kind() -> None:
    commands = [command(action) for action in ORDER_ACTIONS]
    commands += [command(CancelOrder(), versions) for versions in ((), (1,), (LARGE, 0))]
    assert {type(action) for action in ORDER_ACTIONS} == set(get_args(OrderAction)) | set(
        get_args(PaymentAction)
    )
    assert APPEND.decode(APPEND.encode(commands)) == commands


def test_a_regions_records() -> None:
    life = Life(Shop("tx-dfw", A, B, A, 32.8, -96.8), Random(1), 1)
    records = RegionRecords("tx-dfw", 7, tuple(life.records(TASK)))
    assert APPEND.decode(APPEND.encode([records])) == [records]


def test_whom_an_item_is_for_goes_with_it() -> None:
    alone, plain = (
        Carried(command(CancelOrder()), (Origin("r", "t"), Origin("q")), 2**60),
        command(CancelOrder()),
    )
    assert APPEND.decode(APPEND.encode([alone, plain])) == [alone, plain]
    asked = Carried(ask(Arrive(A)), (Origin("r"),), 1)
    assert POST.decode(POST.encode([asked])) == [asked]


OUTCOMES: list[Outcome] = [
    Done(Answer(body={"id": A, "status": "DRAFT", "version": 1, "at": datetime(2030, 1, 1, tzinfo=UTC)})),
    Done(Answer(code="WRONG_STATE", detail="not now"), (TASK, BRIEF)),
    Fenced(3),
    RecordRefused(A, "uq_tasks_delivery"),
    Held((A, B)),
    Held(),
]


def test_outcomes_of_every_kind() -> None:
    assert {type(outcome) for outcome in OUTCOMES} == set(get_args(Outcome))
    assert APPEND.decode_answers(APPEND.encode_answers(OUTCOMES)) == OUTCOMES


def test_messages_of_every_kind() -> None:
    assert {type(action) for action in ACTIONS} == set(get_args(Action))
    messages: list[Posted] = [
        *map(ask, ACTIONS),
        ask(Arrive(A), Device(at_ms=1, n=2**53)),
        OfferSeenBy(A, B),
        Attach(gateway_id="gateway:0", driver_id=A, session=2**62, resume_from=None),
        Attach(gateway_id="gateway:0", driver_id=A, session=1, resume_from=2**53),
        Detach(driver_id=A, session=1),
        Acked(A, 2**53),
        GatewayLost("gateway:0"),
        TaskOpened(TASK, BRIEF),
    ]
    assert {type(message) for message in messages} == set(get_args(Posted))
    assert POST.decode(POST.encode(messages)) == messages


def test_replies_keep_their_places() -> None:
    attached = Attached(True, Snapshot(), ())
    replies = [Answer(body={"task": {"id": A}}), None, attached, Answer(code="NOT_FOUND"), None]
    assert POST.decode_answers(POST.encode_answers(replies)) == replies


def test_numbers_of_numpy_are_numbers() -> None:
    [sent] = APPEND.decode(APPEND.encode([command(MerchantAccept(A, np.float64(60)))]))
    assert sent.action.prep_s == 60.0


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        pickle.dumps([command(CancelOrder())]),
        APPEND.encode([command(CancelOrder())])[:-1],
        b"\x91\x90",
    ],
)
def test_anything_else_is_refused(data: bytes) -> None:
    for wire in (APPEND, POST):
        with pytest.raises(msgspec.MsgspecError):
            wire.decode(data)


def test_one_wire_takes_nothing_of_the_other() -> None:
    with pytest.raises(msgspec.MsgspecError):
        APPEND.decode(POST.encode([ask(Arrive(A))]))
    with pytest.raises(msgspec.MsgspecError):
        POST.decode(APPEND.encode([command(CancelOrder())]))


def test_what_no_type_names_is_not_sent() -> None:
    class Other:
        pass

    unknown: Any = Other()
    with pytest.raises(TypeError):
        APPEND.encode([unknown])
