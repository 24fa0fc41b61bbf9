"""What stores sell."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body
from starlette.responses import Response

from domain.errors import InvalidRequest, NotFound
from domain.marketplace.products import AddProducts, Product
from domain.orders.records import Json
from gateway.http.auth import Merchant, SignedIn
from gateway.http.idempotency import Mutation
from gateway.http.problem import refusals
from gateway.http.strict_json import StrictRoute
from gateway.rest.kit.answers import Parts, Uid, carry_out, json_response, own, shown
from gateway.rest.models import NewProduct, ProductView

router = APIRouter(tags=["merchants"], route_class=StrictRoute)

PRODUCTS_LIMIT = 200  # in one request


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
    new = body if isinstance(body, list) else [body]
    if not 1 <= len(new) <= PRODUCTS_LIMIT:
        raise InvalidRequest(f"From 1 to {PRODUCTS_LIMIT} products at a time.")
    products = tuple(
        Product(
            product_id=services.new_id(),
            store_id=str(store_id),
            name=item.name,
            category=item.category,
            price_cents=item.price_cents,
        )
        for item in new
    )
    action = AddProducts(str(store_id), products)
    added = await carry_out(services, call.covers(body), action, _added, dict)
    views = added.view["products"]
    return shown(views if isinstance(body, list) else views[0], 201, replayed=added.replayed)


@router.get(
    "/v1/stores/{store_id}/products", response_model=list[ProductView], responses=refusals("NOT_FOUND")
)
async def products(store_id: Uid, _: SignedIn, services: Parts) -> Response:
    """What a store sells."""
    if await services.reads.store(str(store_id)) is None:
        raise NotFound("There is no such store.")
    return json_response([_product(product) for product in await services.reads.products(str(store_id))])


def _added(products: tuple[Product, ...]) -> dict[str, Json]:
    return {"products": [_product(product) for product in products]}


def _product(product: Product) -> dict[str, Json]:
    return {
        "id": product.product_id,
        "store_id": product.store_id,
        "name": product.name,
        "category": product.category,
        "price_cents": product.price_cents,
    }
