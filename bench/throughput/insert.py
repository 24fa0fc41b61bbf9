"""The reference of `bench writes`: FastAPI with one asyncpg insert for each order, and nothing else.

Run as `BENCH_DATABASE_URL=... python -m bench.throughput.insert PORT`.
"""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

from persistence.pool import POOL_SIZE

_TABLE = """
CREATE TABLE IF NOT EXISTS bench_inserts (
    order_id uuid PRIMARY KEY, store_id uuid NOT NULL, product_id uuid NOT NULL, quantity int NOT NULL,
    lat float8 NOT NULL, lng float8 NOT NULL, address text NOT NULL)
"""
_INSERT = "INSERT INTO bench_inserts VALUES ($1, $2, $3, $4, $5, $6, $7)"


class Item(BaseModel):
    product_id: uuid.UUID
    quantity: int


class Place(BaseModel):
    lat: float
    lng: float
    address: str


class NewOrder(BaseModel):
    store_id: uuid.UUID
    items: list[Item]
    dropoff: Place


class OrderRef(BaseModel):
    id: uuid.UUID


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with asyncpg.create_pool(
        os.environ["BENCH_DATABASE_URL"], min_size=POOL_SIZE, max_size=POOL_SIZE
    ) as pool:
        await pool.execute(_TABLE)
        app.state.pool = pool
        yield


app = FastAPI(lifespan=_lifespan)


@app.get("/health")
async def health() -> dict[str, str]:
    """Answers once the server serves."""
    return {}


@app.post("/v1/orders", status_code=201)
async def create(order: NewOrder) -> OrderRef:
    """One row in one transaction."""
    order_id, item, place = uuid.uuid4(), order.items[0], order.dropoff
    await app.state.pool.execute(
        _INSERT, order_id, order.store_id, item.product_id, item.quantity, place.lat, place.lng, place.address
    )
    return OrderRef(id=order_id)


def serve(app: FastAPI, port: int) -> None:
    """Serve a reference on the loopback interface with the gateway's own settings of uvicorn."""
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=port,
        loop="uvloop",
        http="httptools",
        log_level="warning",
        access_log=False,
    )


if __name__ == "__main__":
    serve(app, int(sys.argv[1]))
