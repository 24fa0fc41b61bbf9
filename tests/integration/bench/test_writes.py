"""The plain endpoint that `bench writes` measures itself by does the same work: the same rows, by another way."""

from __future__ import annotations

from random import Random
from typing import Any

import asyncpg
import httpx
import msgspec
import pytest

from bench.throughput.order_commands import Life, Shop, open_shop
from bench.throughput.same_work import SCHEMA, TABLES, app
from domain.orders.dossier import Entry, verify
from persistence.orders.postgres import PostgresStore
from persistence.reads.reads import Reads
from tests.support.database import server_url

pytestmark = pytest.mark.integration


async def test_the_plain_endpoint_leaves_the_rows_that_the_store_leaves(
    fresh_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = server_url(fresh_database_url)
    monkeypatch.setenv("BENCH_DATABASE_URL", fresh_database_url)
    reads, store, chance = Reads.connect(url), PostgresStore(url), Random(1)
    sql = await asyncpg.connect(fresh_database_url)
    try:
        shop = await open_shop(reads, "tx-dfw", chance)
        await store.append([next(Life(shop, chance, 1_700_000_000_000).commands())])
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http,
        ):
            created, again, other = [
                await http.post("/v1/orders", json=_body(shop, quantity), headers={"Idempotency-Key": "k"})
                for quantity in (2, 2, 3)
            ]
            unknown = _body(shop, 2) | {"store_id": shop.merchant_id}
            missing = await http.post("/v1/orders", json=unknown, headers={"Idempotency-Key": "n"})
        assert (created.status_code, again.json()) == (201, created.json())
        assert (other.status_code, missing.status_code) == (422, 404)
        for table in TABLES:
            of_orders = (
                "WHERE aggregate = 'order'" if table == "outbox" else ""
            )  # opening the shop told of others
            ours, theirs = [
                await sql.fetch(f"SELECT * FROM {schema}.{table} {of_orders}")
                for schema in ("public", SCHEMA)
            ]
            assert len(ours) == len(theirs) == 1, table
            assert _shape(ours[0]) == _shape(theirs[0]), table
        [row] = await sql.fetch(f"SELECT * FROM {SCHEMA}.dossier_events")
        event = dict(row)
        event |= {"order_id": str(event["order_id"]), "payload": msgspec.json.decode(event["payload"])}
        entry = Entry(**event)
        assert verify([entry]).ok
    finally:
        await sql.close()
        await reads.close()
        await store.close()


def _body(shop: Shop, quantity: int) -> dict[str, Any]:
    return {
        "store_id": shop.store_id,
        "items": [{"product_id": shop.product_id, "quantity": quantity}],
        "dropoff": {"lat": shop.lat + 0.03, "lng": shop.lng + 0.02, "address": "12 Elm St, Apartment 4"},
    }


def _shape(row: asyncpg.Record) -> dict[str, Any]:
    """Which columns have a value, and of which members a document consists."""
    return {
        name: sorted(msgspec.json.decode(value)) if name in ("payload", "body") else value is not None
        for name, value in row.items()
    }
