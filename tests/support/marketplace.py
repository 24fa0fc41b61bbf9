"""Records of the marketplace, put there as tests want them."""

from __future__ import annotations

from typing import Any

from domain.marketplace.accounts import OpenAccount, SetDisabled, User
from domain.marketplace.change import Command
from domain.marketplace.products import AddProducts, Product
from domain.marketplace.stores import OpenStore, SetHours, Store
from domain.orders.hours import Hours
from domain.orders.lifecycle import Role
from gateway.deciders.ports import Marketplace
from persistence.marketplace import carry_out
from persistence.reads.memory import MemoryMarketplace, MemoryReads
from persistence.reads.reads import Reads


def marketplace_of(reads: Reads | MemoryReads) -> Marketplace:
    """The writes beside these reads."""
    return MemoryMarketplace(reads) if isinstance(reads, MemoryReads) else carry_out.Marketplace(reads.engine)


async def change(marketplace: Marketplace, action: Any, actor_id: str = "test", **fields: Any) -> Any:
    """What the action leads to; nobody's in particular unless the `fields` of the command say so."""
    given: dict[str, Any] = {"role": Role.ADMIN, "at_ms": 0, "owner_id": None} | fields
    command = Command(action=action, actor_id=actor_id, **given)
    return (await marketplace.carry_out(command, lambda made: made, Any)).view


async def put(marketplace: Marketplace, *records: User | Store | Product) -> None:
    """Make these records."""
    for record in records:
        if isinstance(record, User):
            await change(marketplace, OpenAccount(record))
        elif isinstance(record, Store):
            fields = {name: getattr(record, name) for name in OpenStore.__struct_fields__}
            await change(marketplace, OpenStore(**fields), record.merchant_id)
        else:
            await change(marketplace, AddProducts(record.store_id, (record,)))


async def set_hours(
    marketplace: Marketplace, store_id: str, hours: Hours, if_match: tuple[int, ...] | None = None
) -> Store:
    """The store with these hours."""
    after = await change(marketplace, SetHours(store_id, hours), if_match=if_match)
    assert isinstance(after, Store)
    return after


async def set_disabled(marketplace: Marketplace, user_id: str, disabled_ms: int | None) -> None:
    await change(marketplace, SetDisabled(user_id, disabled_ms))
