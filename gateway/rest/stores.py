"""Stores and their hours."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from starlette.responses import Response

from domain.errors import NotFound
from domain.ground.markets import MARKETS
from domain.ground.times import instant
from domain.marketplace.party import RUNS_STORES
from domain.marketplace.stores import OpenStore, SetHours, Store
from domain.orders.hours import Hours, Opening, closes_ms
from domain.orders.lifecycle import Role
from gateway.http.auth import Me
from gateway.http.idempotency import Mutation
from gateway.http.policy import Door, Need, Policy
from gateway.rest.kit.answers import Parts, Uid, carry_out, etag, json_response, shown
from gateway.rest.kit.routes import Routes
from gateway.rest.models import HoursBody, NewStore
from gateway.rest.views import HoursView, StoreView
from gateway.services import Services

routes = Routes("stores", tag="merchants")


@routes.post(
    "/v1/merchants/{merchant_id}/stores",
    Policy(roles=(Role.MERCHANT,), owner="merchant_id", jobs=RUNS_STORES, key=Need.MAY),
    StoreView,
    status=201,
    refuses=("OUTSIDE_SERVICE_AREA",),
)
async def add_store(merchant_id: Uid, body: NewStore, _: Me, call: Mutation, services: Parts) -> Response:
    """Open a store. It must lie inside its market."""
    action = OpenStore(
        store_id=services.new_id(),
        region_id=services.region(body.region_id),
        name=body.name,
        lat=body.lat,
        lng=body.lng,
        address=body.address,
    )
    opened = await carry_out(
        services, call.covers(body), action, lambda store: _store(store, services), StoreView
    )
    return shown(opened.view, opened.replayed, 201)


@routes.get(
    "/v1/merchants/{merchant_id}/stores", Policy(roles=(Role.MERCHANT,), owner="merchant_id"), list[StoreView]
)
async def own_stores(merchant_id: Uid, _: Me, services: Parts) -> Response:
    """Your stores."""
    stores = await services.reads.stores(merchant_id=str(merchant_id))
    return json_response([_store(store, services) for store in stores])


@routes.get("/v1/stores", Policy(roles=Door.SIGNED_IN), list[StoreView], refuses=("NOT_FOUND",))
async def stores(
    _: Me, services: Parts, region_id: Annotated[str, Query(max_length=64, description="A region's id.")]
) -> Response:
    """The stores of a region."""
    found = await services.reads.stores(region_id=services.region(region_id))
    return json_response([_store(store, services) for store in found])


@routes.get("/v1/stores/{store_id}/hours", Policy(roles=Door.SIGNED_IN), HoursView, refuses=("NOT_FOUND",))
async def hours(store_id: Uid, _: Me, services: Parts) -> Response:
    """When a store is open. The ETag is the store's version, for If-Match."""
    store = await services.reads.store(str(store_id))
    if store is None:
        raise NotFound("There is no such store.")
    return json_response(_hours(store, services), headers=etag(store.version))


@routes.put(
    "/v1/stores/{store_id}/hours",
    Policy(roles=(Role.MERCHANT,), owner="store_id", jobs=RUNS_STORES, key=Need.MAY, version=Need.MAY),
    HoursView,
)
async def set_hours(store_id: Uid, body: HoursBody, _: Me, call: Mutation, services: Parts) -> Response:
    """Set your store's week. Orders that you have accepted keep the closing time that they were accepted by."""
    week: Hours = None
    if body.hours is not None:
        week = tuple(Opening(one.weekday, one.opens_min, one.closes_min) for one in body.hours)
    action = SetHours(str(store_id), week)
    after = await carry_out(
        services, call.covers(body), action, lambda store: _hours(store, services), HoursView
    )
    return shown(after.view, after.replayed, version=after.view.version)


def _closes_ms(store: Store, services: Services) -> tuple[bool, int | None]:
    """Whether the store is open now, and until when."""
    now_ms = services.config.clock.now_ms()
    by_ms = closes_ms(store.hours, MARKETS[store.region_id].timezone, now_ms)
    return by_ms != now_ms, by_ms


def _hours(store: Store, services: Services) -> HoursView:
    is_open, by_ms = _closes_ms(store, services)
    return HoursView(
        store_id=store.store_id,
        version=store.version,
        timezone=MARKETS[store.region_id].timezone,
        hours=store.hours,
        open=is_open,
        closes_at=instant(by_ms) if is_open and by_ms is not None else None,
    )


def _store(store: Store, services: Services) -> StoreView:
    return StoreView(
        id=store.store_id,
        merchant_id=store.merchant_id,
        region_id=store.region_id,
        name=store.name,
        lat=store.lat,
        lng=store.lng,
        address=store.address,
        hours=store.hours,
        open=_closes_ms(store, services)[0],
    )
