"""Rows, messages and requests with sensible values, so that a test names only what it is about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from msgspec.structs import replace

from domain.orders.commands import OrderAction, OrderCommand, PaymentAction
from domain.orders.dossier import GENESIS, Entry, extend
from domain.orders.lifecycle import OrderEvent, OrderStatus, Role, TaskKind, TaskStatus
from domain.orders.records import OrderBrief, OrderFact, RegionImage, TaskRow
from domain.orders.state import OrderLine, OrderState, Product, Store
from domain.region.messages import Action, Ask, Attach, Device, DriversSeen, Here, SubmitIdCheck
from domain.solve import NEVER_MS, DriverColumns, SolveRequest, TaskColumns, Weights

REGION = "tx-dfw"
NOW = 1_750_000_000_000  # server ms at which stories begin
STORE_AT = (32.80, -96.80)
DOOR_AT = (32.83, -96.83)

Point = tuple[float, float]


def at(north_km: float = 0.0, east_km: float = 0.0, of: Point = STORE_AT) -> Point:
    """The point so many kilometres north and east of `of`, near enough for tests."""
    return round(of[0] + north_km / 111.2, 6), round(of[1] + east_km / 93.5, 6)


# -- rows -------------------------------------------------------------------------------------------------------------


def task_row(task_id: str = "task-1", order_id: str = "order-1", **changes: Any) -> TaskRow:
    """An open delivery, ready now and due in 45 minutes."""
    row = TaskRow(
        task_id=task_id,
        order_id=order_id,
        region_id=REGION,
        kind=TaskKind.DELIVERY,
        status=TaskStatus.OPEN,
        store_id="store-1",
        pickup_lat=STORE_AT[0],
        pickup_lng=STORE_AT[1],
        dropoff_lat=DOOR_AT[0],
        dropoff_lng=DOOR_AT[1],
        dropoff_address="1 Elm Street",
        min_age=21,
        opened_ms=NOW,
        ready_ms=NOW,
        due_ms=NOW + 45 * 60_000,
    )
    return replace(row, **changes)


def brief(order_id: str = "order-1", status: OrderStatus = OrderStatus.CONFIRMED) -> OrderBrief:
    return OrderBrief(order_id=order_id, status=status, customer_id="cara", merchant_id="max")


def image(epoch: int = 1, **parts: Any) -> RegionImage:
    """A region's image, empty unless parts are given."""
    return RegionImage(region_id=REGION, epoch=epoch, **parts)


def store() -> Store:
    return Store(store_id="store-1", merchant_id="max", region_id=REGION, lat=STORE_AT[0], lng=STORE_AT[1])


def products() -> dict[str, Product]:
    """Beer (21), bread (0), and something of a category that no rulebook names."""
    categories = {"beer": "alcohol", "bread": "general", "novelty": "fireworks"}
    return {
        product_id: Product(product_id=product_id, store_id="store-1", category=category, price_cents=1250)
        for product_id, category in categories.items()
    }


def order_state(status: OrderStatus = OrderStatus.DRAFT, **changes: Any) -> OrderState:
    """The row of Cara's order of two beers at Max's store."""
    state = OrderState(
        order_id="order-1",
        region_id=REGION,
        customer_id="cara",
        merchant_id="max",
        store_id="store-1",
        status=status,
        version=3,
        min_age=21,
        goods_cents=2500,
        fee_cents=0,
        tax_cents=0,
        tip_cents=0,
        total_cents=2500,
        items=(OrderLine("beer", 2, 1250, 0),),
        pickup_lat=STORE_AT[0],
        pickup_lng=STORE_AT[1],
        dropoff_lat=DOOR_AT[0],
        dropoff_lng=DOOR_AT[1],
        dropoff_address="1 Elm Street",
        created_ms=NOW,
    )
    return replace(state, **changes)


def fact(event: OrderEvent, status: OrderStatus, n: int = 0, **payload: Any) -> OrderFact:
    return OrderFact(
        order_id="order-1",
        event=event,
        status=status,
        at_ms=NOW + n,
        role=Role.CUSTOMER,
        actor_id="cara",
        payload=payload,
    )


def chain(facts: Sequence[OrderFact]) -> list[Entry]:
    """The dossier that these facts make."""
    entries: list[Entry] = []
    for seq, one in enumerate(facts, 1):
        entries.append(extend(entries[-1].hash if entries else GENESIS, seq, one))
    return entries


# -- requests ---------------------------------------------------------------------------------------------------------


def command(
    action: OrderAction | PaymentAction,
    role: Role = Role.CUSTOMER,
    who: str = "cara",
    order_id: str = "order-1",
    **more: Any,
) -> OrderCommand:
    """A request to the rows, with an id of its own unless `key` is given."""
    key = more.pop("key", f"{order_id}/{type(action).__name__}")
    defaults: dict[str, Any] = {"scope": f"{who}|rest", "fingerprint": "same", "at_ms": NOW}
    return OrderCommand(
        key=key, role=role, principal_id=who, order_id=order_id, action=action, **(defaults | more)
    )


def ask(
    action: Action,
    role: Role = Role.DRIVER,
    who: str = "ann",
    key: str = "k1",
    fingerprint: str = "same",
    by: str = "ws",
    session: int = 1,
    device: Device | None = None,
    here: Here | None = None,
) -> Ask:
    """A request to the region, over this socket unless `by` is `rest`."""
    return Ask(
        scope=f"{who}|{by}",
        key=key,
        fingerprint=fingerprint,
        role=role,
        principal_id=who,
        action=action,
        session=session if by == "ws" else 0,
        device=device,
        here=here,
    )


def id_check(
    order_id: str = "order-1",
    *,
    over_age: bool = True,
    not_expired: bool = True,
    name_matches: bool = True,
    sober: bool = True,
) -> SubmitIdCheck:
    """A check that passes, unless a flag says otherwise."""
    return SubmitIdCheck(
        order_id=order_id,
        over_age=over_age,
        not_expired=not_expired,
        name_matches=name_matches,
        sober=sober,
        method="scan",
        vendor_ref="vnd-1",
    )


def attach(
    driver_id: str = "ann", session: int = 1, resume_from: int | None = None, gateway_id: str = "gateway:0"
) -> Attach:
    return Attach(gateway_id=gateway_id, driver_id=driver_id, session=session, resume_from=resume_from)


def seen(
    where: dict[str, Point],
    *,
    session: int | dict[str, int] = 1,
    seq: int = 1,
    on: bool = True,
    gateway_id: str = "gateway:0",
) -> DriversSeen:
    """One ping of each driver named in `where`."""
    ids = list(where)
    sessions = session if isinstance(session, dict) else dict.fromkeys(ids, session)
    return DriversSeen(
        gateway_id=gateway_id,
        driver_ids=ids,
        session=np.array([sessions[driver_id] for driver_id in ids], np.int64),
        seq=np.full(len(ids), seq, np.int64),
        lat=np.array([where[driver_id][0] for driver_id in ids], np.float64),
        lng=np.array([where[driver_id][1] for driver_id in ids], np.float64),
        on_duty=np.full(len(ids), on, np.bool_),
    )


# -- matching problems ------------------------------------------------------------------------------------------------


def problem(
    tasks: Sequence[Point],
    drivers: Sequence[Point],
    *,
    solver: str = "fast",
    declined: Sequence[tuple[int, int, float]] = (),
    rates: Sequence[float] | None = None,
    due_s: Sequence[float] | None = None,
    candidates: int = 16,
) -> SolveRequest:
    """Tasks to be picked up at the given points and brought 3 km north, and free drivers at the given points."""
    n, m = len(tasks), len(drivers)
    lat, lng = np.array([p[0] for p in tasks], np.float64), np.array([p[1] for p in tasks], np.float64)
    due_ms = np.array([45 * 60.0] * n if due_s is None else due_s) * 1000 + NOW
    return SolveRequest(
        request_id=7,
        solver=solver,
        now_ms=NOW,
        offer_by_ms=NEVER_MS,
        tasks=TaskColumns(
            ids=[f"t{i}" for i in range(n)],
            pickup_lat=lat,
            pickup_lng=lng,
            dropoff_lat=lat + 3 / 111.2,
            dropoff_lng=lng,
            opened_ms=np.full(n, NOW, np.int64),
            ready_ms=np.full(n, NOW, np.int64),
            due_ms=due_ms.astype(np.int64),
            latest_ms=np.full(n, NEVER_MS),
            closes_ms=np.full(n, NEVER_MS),
            refusal=np.zeros(n),
            planned_ms=np.full(n, NOW, np.int64),
            behind=np.zeros(n),
            until_ms=np.full(n, NEVER_MS),
        ),
        drivers=DriverColumns(
            ids=[f"d{i}" for i in range(m)],
            lat=np.array([p[0] for p in drivers], np.float64),
            lng=np.array([p[1] for p in drivers], np.float64),
            free_ms=np.full(m, NOW, np.int64),
            until_ms=np.full(m, NEVER_MS),
            idle=np.full(m, True),
            ahead=np.zeros(m),
            accept_rate=np.full(m, 0.75) if rates is None else np.array(rates, np.float64),
        ),
        declined_task=np.array([pair[0] for pair in declined], np.int64),
        declined_driver=np.array([pair[1] for pair in declined], np.int64),
        declined_penalty_s=np.array([pair[2] for pair in declined], np.float64),
        weights=Weights(),
        candidates=candidates,
    )
