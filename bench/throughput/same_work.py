"""The other reference of `bench writes`: a plain FastAPI and SQLAlchemy endpoint that does an order's whole work.

Each request is one transaction: look for the key's first answer, read store and products, decide by the same domain
code, and write order, items, dossier event with its hash, outbox and idempotency rows by the ORM. To its advantage it
knows no accounts, no limits, no foreign keys and no triggers. Its tables are the server's, made anew in a schema of
their own, so that nobody hands its events on.

Run as `BENCH_DATABASE_URL=... python -m bench.throughput.same_work PORT`.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Annotated

import msgspec
from fastapi import Depends, FastAPI, Header, HTTPException
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from bench.throughput.insert import NewOrder, OrderRef, serve
from domain.errors import refusal
from domain.orders.commands import CreateOrder, OrderCommand, OrderItem
from domain.orders.decide import decide_create
from domain.orders.dossier import GENESIS, extend
from domain.orders.hours import Hours
from domain.orders.lifecycle import Role
from domain.orders.records import ORDER, Answer, OrderFact
from domain.orders.state import OrderState, Product, Store
from domain.ports import Channel
from persistence import tables
from persistence.engine import async_url
from persistence.marketplace.stores import StoreRow
from persistence.pool import POOL_SIZE

SCHEMA = "bench_same_work"
TABLES = ("orders", "order_items", "dossier_events", "outbox", "idempotency")
_CUSTOMER = str(uuid.UUID(int=1, version=4))
_SCOPE = f"{_CUSTOMER}|POST /v1/orders"


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    engine = create_async_engine(
        async_url(os.environ["BENCH_DATABASE_URL"]),
        pool_size=POOL_SIZE,
        max_overflow=0,
        pool_use_lifo=True,
        connect_args={"server_settings": {"search_path": f"{SCHEMA}, public", "jit": "off"}},
    )
    async with engine.begin() as connection:
        await connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
        for name in TABLES:
            like = f"CREATE TABLE IF NOT EXISTS {SCHEMA}.{name} (LIKE public.{name} INCLUDING ALL)"
            await connection.execute(text(like))
    app.state.sessions = async_sessionmaker(engine, expire_on_commit=False)
    yield
    await engine.dispose()


app = FastAPI(lifespan=_lifespan)


async def _session() -> AsyncIterator[AsyncSession]:
    async with app.state.sessions() as session:
        yield session


@app.get("/health")
async def health() -> dict[str, str]:
    """Answers once the server serves."""
    return {}


@app.post("/v1/orders", status_code=201)
async def create(
    order: NewOrder,
    session: Annotated[AsyncSession, Depends(_session)],
    idempotency_key: Annotated[str, Header(max_length=255)],
) -> OrderRef:
    """All of an order in one transaction; a repeat gets the first answer."""
    fingerprint = hashlib.sha256(order.model_dump_json().encode()).hexdigest()
    if (first := await session.get(tables.Idempotency, (_SCOPE, idempotency_key))) is not None:
        return _repeated(first, fingerprint)
    product_ids = [str(item.product_id) for item in order.items]
    store = await session.get(StoreRow, str(order.store_id))
    found = await session.scalars(select(tables.Product).where(tables.Product.product_id.in_(product_ids)))
    command = _command(order, idempotency_key, fingerprint)
    decision = decide_create(
        command, _store(store), {product.product_id: _product(product) for product in found}
    )
    if decision.order is None:
        assert decision.answer.code is not None
        raise HTTPException(refusal(decision.answer.code).status, decision.answer.detail)
    session.add_all(_rows(command, decision.order, decision.facts[0], decision.answer))
    try:
        await session.commit()
    except IntegrityError:
        await session.rollback()
        if (first := await session.get(tables.Idempotency, (_SCOPE, idempotency_key))) is None:
            raise
        return _repeated(first, fingerprint)
    return OrderRef(id=uuid.UUID(command.order_id))


def _repeated(first: tables.Idempotency, fingerprint: str) -> OrderRef:
    if first.fingerprint != fingerprint:
        raise HTTPException(422, "The key was used for something else.")
    return OrderRef(id=first.body["id"])


def _command(order: NewOrder, key: str, fingerprint: str) -> OrderCommand:
    return OrderCommand(
        scope=_SCOPE,
        key=key,
        fingerprint=fingerprint,
        role=Role.CUSTOMER,
        principal_id=_CUSTOMER,
        order_id=str(uuid.uuid4()),
        at_ms=time.time_ns() // 1_000_000,
        action=CreateOrder(
            store_id=str(order.store_id),
            items=tuple(OrderItem(str(item.product_id), item.quantity) for item in order.items),
            dropoff_lat=order.dropoff.lat,
            dropoff_lng=order.dropoff.lng,
            dropoff_address=order.dropoff.address,
        ),
    )


def _store(row: StoreRow | None) -> Store | None:
    if row is None:
        return None
    return Store(
        store_id=row.store_id,
        merchant_id=row.merchant_id,
        region_id=row.region_id,
        lat=row.lat,
        lng=row.lng,
        hours=msgspec.convert(row.hours, Hours),
    )


def _product(row: tables.Product) -> Product:
    return Product(
        product_id=row.product_id,
        store_id=row.store_id,
        category=row.category,
        price_cents=row.price_cents,
    )


def _rows(command: OrderCommand, order: OrderState, fact: OrderFact, answer: Answer) -> Iterator[tables.Base]:
    entry = extend(GENESIS, 1, fact)
    columns = msgspec.structs.asdict(order)
    items = columns.pop("items")
    yield tables.Order(
        **columns | {"status": str(order.status), "payments": []},
        updated_ms=command.at_ms,
        dossier_seq=entry.seq,
        dossier_hash=entry.hash,
    )
    for line, item in enumerate(items):
        yield tables.OrderItem(
            order_id=order.order_id,
            line=line,
            product_id=item.product_id,
            quantity=item.quantity,
            price_cents=item.price_cents,
            tax_cents=item.tax_cents,
        )
    yield tables.DossierEvent(**msgspec.structs.asdict(entry))
    event = {
        "order_id": order.order_id,
        "event": str(fact.event),
        "status": str(fact.status),
        "version": order.version,
        "seq": entry.seq,
        "hash": entry.hash.hex(),
        "role": str(fact.role),
        "actor_id": fact.actor_id,
        "customer_id": order.customer_id,
        "merchant_id": order.merchant_id,
        "store_id": order.store_id,
        "at_ms": fact.at_ms,
        "payload": fact.payload,
    }
    yield tables.Outbox(
        channel=str(Channel.BUS),
        topic=f"order.{str(fact.event).lower()}",
        aggregate=ORDER,
        aggregate_id=order.order_id,
        region_id=order.region_id,
        at_ms=fact.at_ms,
        payload=event,
    )
    yield tables.Idempotency(
        scope=command.scope,
        key=command.key,
        fingerprint=command.fingerprint,
        code=answer.code,
        detail=answer.detail,
        body=answer.body,
        at_ms=command.at_ms,
    )


if __name__ == "__main__":
    serve(app, int(sys.argv[1]))
