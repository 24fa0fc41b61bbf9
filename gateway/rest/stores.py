"""Stores and their hours."""

from __future__ import annotations

from typing import Annotated

import msgspec
from fastapi import APIRouter, Query
from starlette.responses import Response

from domain.errors import NotFound
from domain.ground.markets import MARKETS
from domain.ground.times import instant
from domain.marketplace.stores import OpenStore, SetHours, Store
from domain.orders.hours import Hours, Opening, closes_ms
from domain.orders.records import Json
from gateway.http.auth import Merchant, SignedIn
from gateway.http.idempotency import Mutation
from gateway.http.problem import refusals
from gateway.http.strict_json import StrictRoute
from gateway.rest.kit.answers import Parts, Uid, carry_out, etag, json_response, own, shown
from gateway.rest.models import HoursBody, HoursView, NewStore, StoreView
from gateway.services import Services

router = APIRouter(tags=["merchants"], route_class=StrictRoute)


@router.post(
    "/v1/merchants/{merchant_id}/stores",
    status_code=201,
    response_model=StoreView,
    responses=refusals("FORBIDDEN", "NOT_FOUND", "OUTSIDE_SERVICE_AREA", mutation=True),
)
async def add_store(
    merchant_id: Uid, body: NewStore, merchant: Merchant, call: Mutation, services: Parts
) -> Response:
    """Open a store. It must lie inside its market."""
    own(merchant_id, merchant.id)
    action = OpenStore(
        store_id=services.new_id(),
        region_id=services.region(body.region_id),
        name=body.name,
        lat=body.lat,
        lng=body.lng,
        address=body.address,
    )
    opened = await carry_out(services, call.covers(body), action, lambda store: _store(store, services), dict)
    return shown(opened.view, 201, replayed=opened.replayed)


@router.get(
    "/v1/merchants/{merchant_id}/stores",
    response_model=list[StoreView],
    responses=refusals("FORBIDDEN", "NOT_FOUND"),
)
async def own_stores(merchant_id: Uid, merchant: Merchant, services: Parts) -> Response:
    """Your stores."""
    stores = await services.reads.stores(merchant_id=own(merchant_id, merchant.id))
    return json_response([_store(store, services) for store in stores])


@router.get("/v1/stores", response_model=list[StoreView], responses=refusals("NOT_FOUND"))
async def stores(
    _: SignedIn,
    services: Parts,
    region_id: Annotated[str, Query(max_length=64, description="A region's id.")],
) -> Response:
    """The stores of a region."""
    found = await services.reads.stores(region_id=services.region(region_id))
    return json_response([_store(store, services) for store in found])


@router.get("/v1/stores/{store_id}/hours", response_model=HoursView, responses=refusals("NOT_FOUND"))
async def hours(store_id: Uid, _: SignedIn, services: Parts) -> Response:
    """When a store is open. The ETag is the store's version, for If-Match."""
    store = await services.reads.store(str(store_id))
    if store is None:
        raise NotFound("There is no such store.")
    return json_response(_hours(store, services), headers=etag(store.version))


@router.put(
    "/v1/stores/{store_id}/hours",
    response_model=HoursView,
    responses=refusals("FORBIDDEN", "NOT_FOUND", "VERSION_MISMATCH", mutation=True),
)
async def set_hours(store_id: Uid, body: HoursBody, _: Merchant, call: Mutation, services: Parts) -> Response:
    """Set your store's week. Orders that you have accepted keep the closing time that they were accepted by."""
    week: Hours = None
    if body.hours is not None:
        week = tuple(Opening(one.weekday, one.opens_min, one.closes_min) for one in body.hours)
    action = SetHours(str(store_id), week)
    after = await carry_out(services, call.covers(body), action, lambda store: _hours(store, services), dict)
    return shown(after.view, replayed=after.replayed, version=after.view["version"])


def _closes_ms(store: Store, services: Services) -> tuple[bool, int | None]:
    """Whether the store is open now, and until when."""
    now_ms = services.config.clock.now_ms()
    by_ms = closes_ms(store.hours, MARKETS[store.region_id].timezone, now_ms)
    return by_ms != now_ms, by_ms


def _hours(store: Store, services: Services) -> dict[str, Json]:
    is_open, by_ms = _closes_ms(store, services)
    return {
        "store_id": store.store_id,
        "version": store.version,
        "timezone": MARKETS[store.region_id].timezone,
        "hours": msgspec.to_builtins(store.hours),
        "open": is_open,
        "closes_at": instant(by_ms) if is_open and by_ms is not None else None,
    }


def _store(store: Store, services: Services) -> dict[str, Json]:
    return {
        "id": store.store_id,
        "merchant_id": store.merchant_id,
        "region_id": store.region_id,
        "name": store.name,
        "lat": store.lat,
        "lng": store.lng,
        "address": store.address,
        "hours": msgspec.to_builtins(store.hours),
        "open": _closes_ms(store, services)[0],
    }
