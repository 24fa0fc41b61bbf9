"""What gateways read: the same from the rows and from memory, which unit tests and simulated worlds read."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace

from domain.errors import EmailTaken, NotFound, VersionMismatch
from domain.marketplace.accounts import User
from domain.orders.dossier import verify
from domain.orders.lifecycle import OfferStatus, OrderStatus, Role
from domain.orders.records import OfferRow
from gateway.deciders.ports import Marketplace, ReadSide
from persistence.orders.memory import MemoryStore
from persistence.orders.postgres import PostgresStore
from persistence.reads.memory import MemoryReads
from persistence.reads.reads import Reads
from persistence.reads.views import Cursor, DriverWork, Holder, OfferCursor
from tests.contracts.store_world import REGION, START_MS, World, new_id
from tests.support.database import server_url
from tests.support.marketplace import marketplace_of, put, set_hours


@pytest.fixture(params=["memory", pytest.param("postgres", marks=pytest.mark.integration)])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """A seeded store of each kind, with its reads."""
    if request.param == "memory":
        memory = MemoryStore()
        yield await World(memory).seed(MemoryReads(memory))
        return
    url = server_url(request.getfixturevalue("fresh_database_url"))
    store, reads = PostgresStore(url), Reads.connect(url)
    yield await World(store).seed(reads)
    await reads.close()
    await store.close()


@pytest.fixture
def reads(world: World) -> ReadSide:
    assert world.reads is not None
    return world.reads


@pytest.fixture
def writes(world: World) -> Marketplace:
    assert world.reads is not None
    return marketplace_of(world.reads)


async def test_accounts(reads: ReadSide, writes: Marketplace) -> None:
    user = User(
        user_id=new_id(),
        email="Ann@Example.org",
        password_hash="-",
        role=Role.CUSTOMER,
        name="Ann",
        created_ms=5,
    )
    await put(writes, user)
    kept = replace(user, email="ann@example.org")
    assert await reads.user(user.user_id) == kept
    assert await reads.user_by_email("ANN@example.ORG") == kept
    assert await reads.user(new_id()) is None
    assert await reads.user("no-id") is None
    assert await reads.user_by_email("bob@example.org") is None
    for twin in (
        replace(user, user_id=new_id(), email="ANN@EXAMPLE.ORG"),
        replace(user, email="b@example.org"),
    ):
        with pytest.raises(EmailTaken):
            await put(writes, twin)
    good = Holder(user.user_id, Role.CUSTOMER, 1)
    others = {
        Holder(user.user_id, Role.DRIVER, 1),
        Holder(user.user_id, Role.CUSTOMER, 2),
        Holder(new_id(), Role.CUSTOMER, 1),
        Holder("no-id", Role.CUSTOMER, 1),
    }
    assert await reads.revoked([good, *others]) == others
    disabled = replace(user, user_id=new_id(), email="eve@example.org", disabled_ms=7)
    await put(writes, disabled)
    gone = Holder(disabled.user_id, Role.CUSTOMER, 1)
    assert await reads.revoked([gone, good]) == {gone}


async def test_hours(reads: ReadSide, writes: Marketplace, world: World) -> None:
    store = await set_hours(writes, world.store_id, None, None)
    assert store.version == 1  # they were these already
    opened = await set_hours(writes, world.store_id, (), (1,))
    assert (opened.hours, opened.version) == ((), 2)
    assert await reads.store(world.store_id) == opened
    with pytest.raises(VersionMismatch):
        await set_hours(writes, world.store_id, None, (1,))
    with pytest.raises(NotFound):
        await set_hours(writes, new_id(), None, None)


async def test_the_offer_log_page_by_page(reads: ReadSide, world: World) -> None:
    tasks = [await world.confirmed() for _ in range(3)]
    await world.open()
    offers: list[OfferRow] = []
    for task in tasks:
        world.tick()
        world.driver_id = new_id()
        made, _, offer = world.offered(task)
        await world.append(world.records(made))
        offers.insert(0, offer)
    assert (await reads.offers(region_id=REGION)).offers == offers
    first = await reads.offers(limit=2)
    assert first.offers == offers[:2]
    assert first.next == OfferCursor(offers[1].made_ms, offers[1].offer_id)
    assert (await reads.offers(limit=2, cursor=first.next)).offers == offers[2:]
    assert (await reads.offers(cursor=OfferCursor(START_MS * 2, "x"))).offers == []
    assert (await reads.offers(region_id="tx-aus")).offers == []
    assert (await reads.offers(status=[OfferStatus.ACCEPTED])).offers == []
    assert (await reads.offers(from_ms=offers[1].made_ms, before_ms=offers[0].made_ms)).offers == [offers[1]]
    assert await reads.offer("x") is None
    assert await reads.offer(offers[0].offer_id) == offers[0]


async def test_stores_and_products(reads: ReadSide, writes: Marketplace, world: World) -> None:
    (store,) = await reads.stores(merchant_id=world.merchant_id)
    assert await reads.store(store.store_id) == store
    assert await reads.stores(region_id=REGION) == [store]
    assert await reads.stores(region_id="tx-aus") == []
    beer, bread = await reads.products(store.store_id)
    assert (beer.name, bread.name) == ("Beer", "Bread")
    with pytest.raises(NotFound):
        await put(writes, replace(store, store_id=new_id(), merchant_id=new_id()))
    with pytest.raises(NotFound):
        await put(writes, replace(beer, product_id=new_id(), store_id=new_id()))
    assert await reads.products(store.store_id) == [beer, bread]  # all or none
    order_id = await world.draft()
    order = await reads.order(order_id)
    assert order is not None
    assert order.goods_cents == 2 * beer.price_cents + bread.price_cents
    # By name.
    cider = replace(beer, product_id=new_id(), name="Ale")
    await put(writes, cider)
    assert [product.name for product in await reads.products(store.store_id)] == ["Ale", "Beer", "Bread"]
    await put(writes, replace(store, store_id=new_id(), name="Avenue"))
    assert [one.name for one in await reads.stores()] == ["Avenue", "Corner"]
    assert (await reads.products("x"), await reads.store("x"), await reads.stores(merchant_id="x")) == (
        [],
        None,
        [],
    )


async def test_an_order_with_its_items_and_dossier(reads: ReadSide, world: World) -> None:
    order_id = await world.draft()
    await world.answer(world.age(order_id))
    order = await reads.order(order_id)
    assert order is not None
    lines = [(line.product_id, line.quantity, line.price_cents, line.tax_cents) for line in order.items]
    assert lines == [(world.beer_id, 2, 1299, 214), (world.bread_id, 1, 450, 37)]
    assert (order.goods_cents, order.fee_cents, order.tax_cents, order.tip_cents) == (3048, 499, 292, 0)
    assert (order.status, order.version, order.updated_ms) == ("AGE_VERIFIED", 2, world.now_ms)
    dossier = await reads.dossier(order_id)
    assert verify(dossier).head == order.dossier_hash.hex()
    assert await reads.order(new_id()) is None
    assert await reads.order("x") is None
    assert await reads.dossier("x") == []


async def test_orders_by_owner_status_and_time_page_by_page(reads: ReadSide, world: World) -> None:
    start_ms = world.now_ms
    ids = [await world.draft() for _ in range(7)]
    at_once = [world.create(at_ms=world.now_ms) for _ in range(3)]  # the same time: the id decides
    await world.append(*at_once)
    everything = (await reads.orders(customer_id=world.customer_id, limit=100)).orders
    assert {order.order_id for order in everything} == {*ids, *(create.order_id for create in at_once)}
    seen, cursor = [], None
    for _ in range(10):
        page = await reads.orders(customer_id=world.customer_id, cursor=cursor, limit=3)
        seen += page.orders
        cursor = page.next
        if cursor is None:
            break
    assert seen == everything
    assert [order.created_ms for order in seen] == sorted((order.created_ms for order in seen), reverse=True)
    await world.answer(world.age(ids[0]))
    (aged,) = (await reads.orders(merchant_id=world.merchant_id, status=[OrderStatus.AGE_VERIFIED])).orders
    assert aged.order_id == ids[0]
    early = await reads.orders(from_ms=start_ms + 1000, before_ms=start_ms + 3000)
    assert [order.order_id for order in early.orders] == [ids[1], ids[0]]
    assert (await reads.orders(customer_id=new_id())).orders == []
    assert (await reads.orders(customer_id="x")).orders == []
    assert (await reads.orders(cursor=Cursor(1, "x"))).orders == []
    assert (await reads.orders(region_id="tx-aus")).orders == []


async def test_what_a_driver_has_to_do(reads: ReadSide, world: World) -> None:
    one, two = await world.confirmed(), await world.confirmed()
    await world.open()
    driver_id = world.driver_id
    assert await reads.driver_region(driver_id) is None
    made, offered, offer = world.offered(one)
    await world.append(world.records(made))
    assert await reads.driver_snapshot(driver_id) == DriverWork([offer], [offered], [])
    assert await reads.driver_region(driver_id) == REGION
    assert await reads.holder_of(one.order_id) is None
    assert (await reads.orders(driver_id=driver_id)).orders == []
    taken, held, accepted = world.taken(offered, offer)
    said = tuple(replace(fact, payload={**fact.payload, "device_n": 2**53}) for fact in taken.orders)
    taken = replace(taken, orders=said)
    await world.append(world.records(taken))
    assert await reads.driver_snapshot(driver_id) == DriverWork([], [], [held], last_n=2**53)
    assert await reads.driver_region(driver_id) == REGION
    assert await reads.offer(offer.offer_id) == accepted
    assert await reads.task(one.task_id) == held
    assert await reads.holder_of(one.order_id) == driver_id
    assert await reads.holder_of(two.order_id) is None
    mine = await reads.orders(driver_id=driver_id)
    assert [order.order_id for order in mine.orders] == [one.order_id]
    assert await reads.regions() == {REGION: 1}
    stored = taken.answers[0]
    assert await reads.stored_answer(stored.scope, stored.key) == stored
    assert await reads.stored_answer(stored.scope, "other") is None
