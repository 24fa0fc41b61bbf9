"""Stores and products, and what a merchant does with an order."""

from __future__ import annotations

from typing import Annotated
from uuid import uuid4

from fastapi import APIRouter, Body, Query
from msgspec.structs import replace
from starlette.responses import Response

from domain.errors import IdempotencyKeyReused, InvalidRequest, NotFound, OutsideServiceArea
from domain.hours import Hours, Opening, closes_ms
from domain.markets import MARKETS, serves
from domain.messages import GoodsReady
from domain.order import MerchantAccept, MerchantReject, OrderAction
from domain.records import Answer
from domain.times import instant
from gateway.auth import Anyone, Merchant
from gateway.deciding import decide, order_for
from gateway.idempotency import Mutation
from gateway.models import (
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
from gateway.problem import refusals
from gateway.routes.common import Parts, Uid, etag, json_response, once, own
from gateway.routes.listing import Page, order_page
from gateway.services import Services
from gateway.strict import StrictRoute
from persistence.views import Product, Store

router = APIRouter(tags=["merchants"], route_class=StrictRoute)

PRODUCTS_LIMIT = 200  # in one request
REPLAYED = {"Idempotency-Replayed": "true"}


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
    store = Store(
        # From the key, so that a repeat finds the store that the first one made.
        store_id=call.derived_id() if call.given else str(uuid4()),
        merchant_id=merchant.id,
        region_id=body.region_id,
        name=body.name,
        lat=body.lat,
        lng=body.lng,
        address=body.address,
    )
    known = await services.reads.store(store.store_id) if call.given else None
    if known is not None and replace(known, hours=None, version=1) != store:
        raise IdempotencyKeyReused()
    if known is None:
        await services.reads.add_store(store)
    return json_response(_store(store, services), 201, REPLAYED if known else None)


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
    products = [
        Product(
            product_id=call.derived_id(f"{store_id}|{number}") if call.given else str(uuid4()),
            store_id=store.store_id,
            name=item.name,
            category=item.category,
            price_cents=item.price_cents,
        )
        for number, item in enumerate(new)
    ]
    known = {}
    if call.given:
        # One more than was sent: a repeat with fewer products is another request.
        ids = {product.product_id for product in products} | {call.derived_id(f"{store_id}|{len(new)}")}
        found = await services.reads.products(store.store_id)
        known = {product.product_id: product for product in found if product.product_id in ids}
    if known and known != {product.product_id: product for product in products}:
        raise IdempotencyKeyReused()
    if not known:
        await services.reads.add_products(products)
    views = [_product(product) for product in products]
    return json_response(views if isinstance(body, list) else views[0], 201, REPLAYED if known else None)


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
    return _hours(store, services)


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
    week: Hours = None
    if body.hours is not None:
        week = tuple(Opening(one.weekday, one.opens_min, one.closes_min) for one in body.hours)
    return _hours(await services.reads.set_hours(store.store_id, week, call.if_match), services)


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
    call.covers(body)
    order = await order_for(services, merchant, str(order_id))
    if order.store_id != str(store_id):
        raise NotFound("There is no such order.")

    async def now() -> Answer:
        if body.action == "ready":
            return await decide(services, call, order.order_id, rows=None, region=GoodsReady(order.order_id))
        step: OrderAction = MerchantReject(body.reason)
        if body.action == "accept":
            policy = services.config.policy
            step = MerchantAccept(
                task_id=services.new_id(),
                prep_s=None if body.prep_minutes is None else body.prep_minutes * 60,
                default_prep_s=policy.prep_s,
                promise_s=policy.promise_s,
                travel=policy.travel,
                services=policy.services,
            )
        at_ms = services.config.clock.now_ms()
        return await services.backend.decide(call.command(order.order_id, at_ms, step))

    return await once(services, call, now)


def _closes_ms(store: Store, services: Services) -> tuple[bool, int | None]:
    """Whether the store is open now, and until when."""
    now_ms = services.config.clock.now_ms()
    by_ms = closes_ms(store.hours, MARKETS[store.region_id].timezone, now_ms)
    return by_ms != now_ms, by_ms


def _hours(store: Store, services: Services) -> Response:
    is_open, by_ms = _closes_ms(store, services)
    view = {
        "store_id": store.store_id,
        "version": store.version,
        "timezone": MARKETS[store.region_id].timezone,
        "hours": store.hours,
        "open": is_open,
        "closes_at": instant(by_ms) if is_open and by_ms is not None else None,
    }
    return json_response(view, headers=etag(store.version))


def _store(store: Store, services: Services) -> dict[str, object]:
    return {
        "id": store.store_id,
        "merchant_id": store.merchant_id,
        "region_id": store.region_id,
        "name": store.name,
        "lat": store.lat,
        "lng": store.lng,
        "address": store.address,
        "hours": store.hours,
        "open": _closes_ms(store, services)[0],
    }


def _product(product: Product) -> dict[str, object]:
    return {
        "id": product.product_id,
        "store_id": product.store_id,
        "name": product.name,
        "category": product.category,
        "price_cents": product.price_cents,
    }
