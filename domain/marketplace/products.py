"""Products of a store."""

from __future__ import annotations

from msgspec import Struct

from domain.marketplace.change import Command, Decision
from domain.marketplace.stores import Store


class Product(Struct, frozen=True, kw_only=True):
    """Something a store sells; the category decides the age it asks for."""

    product_id: str
    store_id: str
    name: str
    category: str
    price_cents: int


class AddProducts(Struct, frozen=True):
    """New products of one store, in the order in which they were named."""

    store_id: str
    products: tuple[Product, ...]


def add_products(action: AddProducts, before: Store, command: Command) -> Decision:
    """All or none."""
    return Decision(shown=action.products, new=action.products, event="listed")
