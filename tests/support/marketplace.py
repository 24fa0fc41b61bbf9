"""Records of the marketplace, put there as tests want them."""

from __future__ import annotations

from typing import Any

from domain.marketplace.accounts import OpenAccount, SetDisabled, User
from domain.marketplace.change import Command
from domain.marketplace.drivers import REQUIRED, ApplyToDrive, Document, MoveDriver
from domain.marketplace.merchants import Apply, MoveMerchant
from domain.marketplace.party import Job, Membership
from domain.marketplace.products import AddProducts, Product
from domain.marketplace.review import ReviewEvent
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
    """Make these records. An account of role merchant owns an approved merchant of the same id."""
    for record in records:
        if isinstance(record, User):
            await change(marketplace, OpenAccount(record))
            if record.role is Role.MERCHANT:
                await put_merchant(marketplace, record.user_id, record.user_id)
            if record.role is Role.DRIVER and isinstance(marketplace, carry_out.Marketplace):
                await approve_driver(marketplace, record.user_id)
        elif isinstance(record, Store):
            fields = {name: getattr(record, name) for name in OpenStore.__struct_fields__}
            owner = Membership(record.merchant_id, Job.OWNER)
            await change(marketplace, OpenStore(**fields), record.merchant_id, member=owner)
        else:
            await change(marketplace, AddProducts(record.store_id, (record,)))


async def put_merchant(
    marketplace: Marketplace, merchant_id: str, owner_id: str, *, approved: bool = True
) -> None:
    """A merchant as this account has applied for it, approved as a rule."""
    about = {"name": "Corner", "legal_name": "Corner Store LLC", "address": "2 Elm Street"}
    application = Apply(merchant_id=merchant_id, **about)
    await change(marketplace, application, owner_id, role=Role.MERCHANT)
    if approved:
        await change(marketplace, MoveMerchant(merchant_id=merchant_id, event=ReviewEvent.APPROVED))


async def approve_driver(marketplace: Marketplace, driver_id: str) -> None:
    """The driver has applied with all documents, and was approved."""
    documents = tuple(
        Document(
            document_id=f"{driver_id[:-1]}{n}",
            kind=kind,
            last_four="4711",
            expires_ms=4102444800000,
            handed_in_ms=0,
        )
        for n, kind in enumerate(REQUIRED)
    )
    await change(marketplace, ApplyToDrive(region_id="tx-dfw", documents=documents), driver_id)
    await change(marketplace, MoveDriver(driver_id=driver_id, event=ReviewEvent.APPROVED))


async def set_hours(
    marketplace: Marketplace, store_id: str, hours: Hours, if_match: tuple[int, ...] | None = None
) -> Store:
    """The store with these hours."""
    after = await change(marketplace, SetHours(store_id, hours), if_match=if_match)
    assert isinstance(after, Store)
    return after


async def set_disabled(marketplace: Marketplace, user_id: str, disabled_ms: int | None) -> None:
    await change(marketplace, SetDisabled(user_id, disabled_ms))
