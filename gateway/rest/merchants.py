"""Stores and products, and what a merchant does with an order."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Body, Query
from starlette.responses import Response

from domain.errors import InvalidRequest, NotFound, OutsideServiceArea
from domain.ground.markets import MARKETS, serves
from domain.ground.times import instant
from domain.orders.decide import MerchantAccept, MerchantReject, OrderAction
from domain.orders.hours import Hours, Opening, closes_ms
from domain.orders.records import Answer, Json, StoredAnswer
from domain.region.messages import GoodsReady
from gateway.http.auth import Anyone, Merchant
from gateway.http.idempotency import Mutation
from gateway.http.problem import refusals
from gateway.http.strict_json import StrictRoute
from gateway.rest.kit.answers import Parts, Uid, etag, json_response, once, own
from gateway.rest.kit.deciding import decide, order_for
from gateway.rest.kit.lists import Page, order_page
from gateway.rest.models import (
    Action,
    HoursBody,
    HoursView,
    NewProduct,
    NewStore,
    OrderPage,
    OrderRef,
    ProductView,
    StoreView,
)
from gateway.rest.notes import keep_note
from gateway.services import Services
from persistence.reads.views import Product, Store

router = APIRouter(tags=["merchants"], route_class=StrictRoute)

PRODUCTS_LIMIT = 200  # in one request


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
    services.region(body.region_id)
    if not serves(MARKETS[body.region_id], body.lat, body.lng):
        raise OutsideServiceArea("The store is not inside its market.")
    call.covers(body)

    async def now() -> Answer:
        store = Store(
            store_id=services.new_id(),
            merchant_id=merchant.id,
            region_id=body.region_id,
            name=body.name,
            lat=body.lat,
            lng=body.lng,
            address=body.address,
        )
        answer = Answer(body=_store(store, services))
        await services.reads.add_store(store, call.first(answer, services.config.clock.now_ms()))
        return answer

    return await once(services, call, now, 201)


@router.get(
    "/v1/merchants/{merchant_id}/stores",
    response_model=list[StoreView],
    responses=refusals("FORBIDDEN", "NOT_FOUND"),
)
async def own_stores(merchant_id: Uid, merchant: Merchant, services: Parts) -> Response:
    """Your stores."""
    stores = await services.reads.stores(merchant_id=own(merchant_id, merchant.id))
    return json_response([_store(store, services) for store in stores])


@router.post(
    "/v1/merchants/{merchant_id}/stores/{store_id}/products",
    status_code=201,
    response_model=ProductView | list[ProductView],
    responses=refusals("FORBIDDEN", "NOT_FOUND", mutation=True),
)
async def add_products(
    merchant_id: Uid,
    store_id: Uid,
    body: Annotated[NewProduct | list[NewProduct], Body()],
    merchant: Merchant,
    call: Mutation,
    services: Parts,
) -> Response:
    """Add one product or a list of them; answers in kind, in the order given."""
    own(merchant_id, merchant.id)
    store = await services.reads.store(str(store_id))
    if store is None or store.merchant_id != merchant.id:
        raise NotFound("There is no such store.")
    new = body if isinstance(body, list) else [body]
    if not 1 <= len(new) <= PRODUCTS_LIMIT:
        raise InvalidRequest(f"From 1 to {PRODUCTS_LIMIT} products at a time.")
    call.covers(body)

    async def now() -> Answer:
        products = [
            Product(
                product_id=services.new_id(),
                store_id=store.store_id,
                name=item.name,
                category=item.category,
                price_cents=item.price_cents,
            )
            for item in new
        ]
        answer = Answer(body={"products": [_product(product) for product in products]})
        await services.reads.add_products(products, call.first(answer, services.config.clock.now_ms()))
        return answer

    def show(kept: dict[str, Any]) -> Any:
        return kept["products"] if isinstance(body, list) else kept["products"][0]

    return await once(services, call, now, 201, show)


@router.get("/v1/stores", response_model=list[StoreView], responses=refusals("NOT_FOUND"))
async def stores(
    _: Anyone, services: Parts, region_id: Annotated[str, Query(max_length=64, description="A region's id.")]
) -> Response:
    """The stores of a region."""
    found = await services.reads.stores(region_id=services.region(region_id))
    return json_response([_store(store, services) for store in found])


@router.get("/v1/stores/{store_id}/hours", response_model=HoursView, responses=refusals("NOT_FOUND"))
async def hours(store_id: Uid, _: Anyone, services: Parts) -> Response:
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
async def set_hours(
    store_id: Uid, body: HoursBody, merchant: Merchant, call: Mutation, services: Parts
) -> Response:
    """Set your store's week. Orders that you have accepted keep the closing time that they were accepted by."""
    store = await services.reads.store(str(store_id))
    if store is None or store.merchant_id != merchant.id:
        raise NotFound("There is no such store.")
    call.covers(body)
    week: Hours = None
    if body.hours is not None:
        week = tuple(Opening(one.weekday, one.opens_min, one.closes_min) for one in body.hours)

    def first(after: Store) -> StoredAnswer | None:
        return call.first(Answer(body=_hours(after, services)), services.config.clock.now_ms())

    async def now() -> Answer:
        after = await services.reads.set_hours(store.store_id, week, call.if_match, first)
        return Answer(body=_hours(after, services))

    return await once(services, call, now)


@router.get(
    "/v1/stores/{store_id}/products", response_model=list[ProductView], responses=refusals("NOT_FOUND")
)
async def products(store_id: Uid, _: Anyone, services: Parts) -> Response:
    """What a store sells."""
    if await services.reads.store(str(store_id)) is None:
        raise NotFound("There is no such store.")
    return json_response([_product(product) for product in await services.reads.products(str(store_id))])


@router.get(
    "/v1/merchants/{merchant_id}/orders",
    response_model=OrderPage,
    responses=refusals("FORBIDDEN", "NOT_FOUND"),
)
async def merchant_orders(merchant_id: Uid, merchant: Merchant, page: Page, services: Parts) -> Response:
    """Orders to your stores, newest first."""
    own(merchant_id, merchant.id)
    return json_response(await order_page(services, merchant, page))


@router.post(
    "/v1/merchants/{merchant_id}/stores/{store_id}/orders/{order_id}/action",
    response_model=OrderRef,
    responses=refusals(
        "FORBIDDEN",
        "NOT_FOUND",
        "WRONG_STATE",
        "VERSION_MISMATCH",
        "STORE_CLOSED",
        "TOO_LATE_TODAY",
        mutation=True,
    ),
)
async def act(
    merchant_id: Uid,
    store_id: Uid,
    order_id: Uid,
    body: Action,
    merchant: Merchant,
    call: Mutation,
    services: Parts,
) -> Response:
    """Accept (which seeks a driver at once), reject, or say that the goods are packed."""
    own(merchant_id, merchant.id)
    call.covers(body, but="note")
    order = await order_for(services, merchant, str(order_id))
    if order.store_id != str(store_id):
        raise NotFound("There is no such order.")

    async def now() -> Answer:
        if body.action == "ready":
            return await decide(services, call, order.order_id, rows=None, region=GoodsReady(order.order_id))
        step: OrderAction = MerchantReject(body.reason)
        if body.action == "accept":
            prep_s = None if body.prep_minutes is None else body.prep_minutes * 60
            step = MerchantAccept(task_id=services.new_id(), prep_s=prep_s)
        at_ms = services.config.clock.now_ms()
        return await services.backend.decide(call.command(order.order_id, at_ms, step))

    response = await once(services, call, now)
    if body.action == "reject":
        await keep_note(services, call, order.order_id, "reject", body.note)
    return response


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


def _product(product: Product) -> dict[str, Json]:
    return {
        "id": product.product_id,
        "store_id": product.store_id,
        "name": product.name,
        "category": product.category,
        "price_cents": product.price_cents,
    }
