"""The marketplace's one write path: one change for a key, whoever comes at once; its owner's, at the version seen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeAlias

import pytest
from msgspec.structs import replace
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from domain.errors import (
    EmailTaken,
    IdempotencyKeyReused,
    LimitReached,
    NotFound,
    OutsideServiceArea,
    StoreBusy,
    VersionMismatch,
)
from domain.marketplace.accounts import OpenAccount, SetDisabled, User
from domain.marketplace.change import Carried, Claim, Command, Done, by_operator
from domain.marketplace.party import Job, Membership
from domain.marketplace.products import AddProducts, Product
from domain.marketplace.stores import OpenStore, SetHours
from domain.marketplace.vehicles import VEHICLES_LIMIT, AddVehicle, VehicleKind
from domain.orders.hours import Hours, Opening
from domain.orders.lifecycle import Role
from persistence.engine import create_plain_engine
from persistence.marketplace.carry_out import Marketplace
from persistence.orders.postgres import PostgresStore
from persistence.reads.reads import Reads
from tests.contracts.store_world import REGION, World, new_id
from tests.support.database import server_url

pytestmark = pytest.mark.integration

Answer: TypeAlias = "Carried[dict[str, Any]]"

WEEK: Hours = (Opening(0, 600, 1200),)


@pytest.fixture
async def reads(fresh_database_url: str) -> AsyncIterator[Reads]:
    reads = Reads.connect(server_url(fresh_database_url))
    yield reads
    await reads.close()


@pytest.fixture
async def world(fresh_database_url: str, reads: Reads) -> AsyncIterator[World]:
    store = PostgresStore(server_url(fresh_database_url))
    yield await World(store).seed(reads)
    await store.close()


@pytest.fixture
def marketplace(reads: Reads) -> Marketplace:
    return Marketplace(reads.engine)


def command(world: World, action: Any, key: str | None = None, **fields: Any) -> Command:
    """The merchant's, under a key where one is given."""
    claim = None if key is None else Claim(f"{world.merchant_id}|somewhere", key, "fingerprint")
    given: dict[str, Any] = {
        "role": Role.MERCHANT,
        "at_ms": 1,
        "owner_id": world.merchant_id,
        "member": Membership(world.merchant_id, Job.OWNER),
        "claim": claim,
    } | fields
    return Command(action=action, actor_id=world.merchant_id, **given)


def opening(**fields: Any) -> OpenStore:
    given: dict[str, Any] = {
        "region_id": REGION,
        "name": "Corner",
        "lat": 32.78,
        "lng": -96.8,
        "address": "1 Elm St",
    }
    return OpenStore(store_id=new_id(), **(given | fields))


def person(name: str) -> OpenAccount:
    return OpenAccount(
        User(
            user_id=new_id(),
            email=f"{name}@example.org",
            password_hash="-",
            role=Role.CUSTOMER,
            name=name,
            created_ms=0,
        )
    )


async def test_one_change_for_a_key(reads: Reads, world: World, marketplace: Marketplace) -> None:
    def ale() -> AddProducts:
        one = Product(
            product_id=new_id(), store_id=world.store_id, name="Ale", category="general", price_cents=1
        )
        return AddProducts(world.store_id, (one,))

    actions: list[Callable[[int], Any]] = [
        lambda n: opening(name=str(n)),
        lambda _: ale(),
        lambda _: person("ann"),
        lambda n: SetHours(world.store_id, (Opening(n, 0, 60),)),
        lambda n: Done({"n": n}),
    ]
    for number, make in enumerate(actions):

        async def one(n: int, key: str = str(number), make: Callable[[int], Any] = make) -> Answer:
            asked = command(world, make(n), key, if_match=(1,))
            return await marketplace.carry_out(asked, lambda _: {"n": n}, dict)  # which tells them apart

        carried = await asyncio.gather(*map(one, range(6)))
        assert sorted(one.replayed for one in carried) == [False, *[True] * 5]
        assert len({one.view["n"] for one in carried}) == 1
    assert len(await reads.stores(merchant_id=world.merchant_id)) == 2
    assert [one.name for one in await reads.products(world.store_id)] == ["Ale", "Beer", "Bread"]
    store = await reads.store(world.store_id)
    assert store is not None
    assert store.version == 2


async def test_a_repeat_hears_of_its_own_version(
    reads: Reads, world: World, marketplace: Marketplace
) -> None:
    async def set_hours(hours: Hours, if_match: int, key: str | None = None) -> Answer:
        asked = command(world, SetHours(world.store_id, hours), key, if_match=(if_match,))
        return await marketplace.carry_out(asked, lambda store: {"version": store.version}, dict)

    assert await set_hours(WEEK, 1, "k") == Carried({"version": 2})
    assert await set_hours((), 2) == Carried({"version": 3})
    assert await set_hours(WEEK, 1, "k") == Carried({"version": 2}, replayed=True)
    assert await set_hours((), 2) == Carried({"version": 3})  # it is so already
    with pytest.raises(VersionMismatch, match="The store is at version 3"):
        await set_hours(WEEK, 2)
    other = command(world, SetHours(world.store_id, WEEK), "k")
    other = replace(other, claim=Claim(f"{world.merchant_id}|somewhere", "k", "another"))
    with pytest.raises(IdempotencyKeyReused):
        await marketplace.carry_out(other, lambda _: {}, dict)


async def test_what_is_refused_leaves_nothing(reads: Reads, world: World, marketplace: Marketplace) -> None:
    async def refused(action: Any, **fields: Any) -> Exception:
        with pytest.raises(Exception) as error:
            await marketplace.carry_out(command(world, action, "k", **fields), lambda _: {}, dict)
        return error.value

    await marketplace.carry_out(command(world, person("bob")), lambda _: {}, dict)
    twin = await refused(person("bob"))
    assert isinstance(twin, EmailTaken)
    assert twin.__suppress_context__, "the driver's words hold the address"
    assert isinstance(await refused(opening(lat=40.0)), OutsideServiceArea)
    stranger = {"owner_id": new_id(), "member": Membership(new_id(), Job.OWNER)}
    for action in (SetHours(world.store_id, WEEK), AddProducts(world.store_id, ())):
        assert isinstance(await refused(action, **stranger), NotFound)
    for nowhere in (new_id(), "no id"):
        assert isinstance(await refused(SetHours(nowhere, WEEK)), NotFound)
    orphan = replace(command(world, opening(), "k"), member=Membership(new_id(), Job.OWNER))
    with pytest.raises(NotFound, match="no such merchant"):
        await marketplace.carry_out(orphan, lambda _: {}, dict)
    assert isinstance(await refused(SetHours(world.store_id, WEEK), if_match=(7,)), VersionMismatch)
    assert await reads.stored_answer(f"{world.merchant_id}|somewhere", "k") is None
    store = await reads.store(world.store_id)
    assert store is not None
    assert (store.hours, store.version) == (None, 1)


async def test_a_fault_on_the_way_takes_all_of_it_back(
    reads: Reads, world: World, marketplace: Marketplace
) -> None:
    def fails(_: Any) -> dict[str, Any]:
        raise RuntimeError("the view cannot be made")

    with pytest.raises(RuntimeError):
        await marketplace.carry_out(command(world, SetHours(world.store_id, WEEK), "k"), fails, dict)
    store = await reads.store(world.store_id)
    assert store is not None
    assert store.version == 1
    assert await reads.stored_answer(f"{world.merchant_id}|somewhere", "k") is None


async def test_a_row_that_somebody_has_locked(
    fresh_database_url: str, world: World, marketplace: Marketplace
) -> None:
    rival = create_plain_engine(fresh_database_url)
    try:
        async with rival.begin() as other:
            await other.execute(text("SELECT FROM stores FOR UPDATE"))
            with pytest.raises(StoreBusy):
                await marketplace.carry_out(
                    command(world, SetHours(world.store_id, WEEK)), lambda _: {}, dict
                )
    finally:
        await rival.dispose()


async def test_what_happened_is_told_and_names_no_person(
    fresh_database_url: str, world: World, marketplace: Marketplace
) -> None:
    begun = opening()
    for action in (
        begun,
        SetHours(begun.store_id, WEEK),
        SetHours(begun.store_id, WEEK),  # changes nothing
        person("ann"),
        Done({}),
    ):
        await marketplace.carry_out(command(world, action), lambda _: {}, dict)
    told = await waiting(fresh_database_url)
    assert [
        (row["topic"], row["aggregate"], row["region_id"], row["payload"]["version"]) for row in told
    ] == [
        ("store.opened", "store", REGION, 1),
        ("store.hours_set", "store", REGION, 2),
        ("account.opened", "account", "", None),
        ("customer.opened", "customer", "", 1),
    ]
    assert [str(row["aggregate_id"]) for row in told[:2]] == [begun.store_id] * 2
    assert "ann" not in str([row["payload"] for row in told])


async def test_what_an_operator_does_is_logged(
    fresh_database_url: str, world: World, marketplace: Marketplace
) -> None:
    made = person("eve")
    await marketplace.carry_out(command(world, made), lambda _: {}, dict)
    disabled = SetDisabled(made.user.user_id, 7)
    for _ in range(2):
        await marketplace.carry_out(by_operator(disabled, 5, "command line"), lambda _: {}, dict)
    logged = await rows_of(
        fresh_database_url, "SELECT * FROM audit_entries WHERE at_ms > 0 ORDER BY entry_id"
    )
    assert [
        (row["action"], row["actor_id"], row["actor_role"], str(row["aggregate_id"])) for row in logged
    ] == [("account.disabled", "command line", "admin", made.user.user_id)] * 2
    server = create_plain_engine(server_url(fresh_database_url))
    try:
        for statement in ("DELETE FROM audit_entries", "UPDATE audit_entries SET at_ms = 0"):
            with pytest.raises(ProgrammingError, match="permission denied"):
                async with server.begin() as connection:
                    await connection.execute(text(statement))
    finally:
        await server.dispose()


async def test_nobody_has_more_than_may_be(
    fresh_database_url: str, world: World, marketplace: Marketplace
) -> None:
    """However many are added at once."""

    def van() -> AddVehicle:
        return AddVehicle(vehicle_id=new_id(), plate="A", kind=VehicleKind.VAN, capacity_l=1)

    async def add(_: int) -> bool:
        try:
            await marketplace.carry_out(command(world, van()), lambda _: {}, dict)
        except LimitReached:
            return False
        return True

    # The driver's part is played by the merchant, whose account it is that counts.
    added = [taken for n in range(4) for taken in await asyncio.gather(*map(add, range(n, n + 15)))]
    assert added.count(True) == VEHICLES_LIMIT
    kept = await rows_of(fresh_database_url, "SELECT count(*) AS n FROM vehicles")
    assert kept == [{"n": VEHICLES_LIMIT}]


async def waiting(url: str) -> list[dict[str, Any]]:
    """The outbox, but for what made the world."""
    return await rows_of(url, "SELECT * FROM outbox WHERE at_ms > 0 ORDER BY event_id")


async def rows_of(url: str, query: str) -> list[dict[str, Any]]:
    """What a query finds."""
    engine = create_plain_engine(url)
    try:
        async with engine.connect() as connection:
            return [dict(row) for row in (await connection.execute(text(query))).mappings()]
    finally:
        await engine.dispose()
