"""What stores sell."""

from __future__ import annotations

from typing import Annotated

from fastapi import Body
from msgspec import Struct
from starlette.responses import Response

from domain.errors import InvalidRequest, NotFound
from domain.marketplace.party import RUNS_STORES
from domain.marketplace.products import AddProducts, Product
from domain.orders.lifecycle import Role
from gateway.http.auth import Me
from gateway.http.idempotency import Mutation
from gateway.http.policy import Door, Need, Policy
from gateway.rest.kit.answers import Parts, Uid, carry_out, json_response, shown
from gateway.rest.kit.routes import Routes
from gateway.rest.models import NewProduct
from gateway.rest.views import ProductView

routes = Routes("products", tag="merchants")

PRODUCTS_LIMIT = 200  # in one request


@routes.post(
    "/v1/merchants/{merchant_id}/stores/{store_id}/products",
    Policy(roles=(Role.MERCHANT,), owner="merchant_id", jobs=RUNS_STORES, key=Need.MAY),
    ProductView | list[ProductView],
    status=201,
)
async def add_products(
    merchant_id: Uid,
    store_id: Uid,
    body: Annotated[NewProduct | list[NewProduct], Body()],
    _: Me,
    call: Mutation,
    services: Parts,
) -> Response:
    """Add one product or a list of them; answers in kind, in the order given."""
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
    added = await carry_out(services, call.covers(body), action, _Added.of, _Added)
    views = added.view.products
    return shown(views if isinstance(body, list) else views[0], added.replayed, 201)


@routes.get(
    "/v1/stores/{store_id}/products", Policy(roles=Door.SIGNED_IN), list[ProductView], refuses=("NOT_FOUND",)
)
async def products(store_id: Uid, _: Me, services: Parts) -> Response:
    """What a store sells."""
    if await services.reads.store(str(store_id)) is None:
        raise NotFound("There is no such store.")
    return json_response([_product(product) for product in await services.reads.products(str(store_id))])


class _Added(Struct, frozen=True):
    """What is kept of new products for repeats."""

    products: list[ProductView]

    @classmethod
    def of(cls, products: tuple[Product, ...]) -> _Added:
        return cls([_product(product) for product in products])


def _product(product: Product) -> ProductView:
    return ProductView(
        id=product.product_id,
        store_id=product.store_id,
        name=product.name,
        category=product.category,
        price_cents=product.price_cents,
    )
