"""The first answer to a key is kept in the very transaction of its change: one change, whoever comes at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import pytest
from msgspec.structs import replace

from domain.errors import EmailTaken, NotFound, VersionMismatch
from domain.orders.hours import Hours, Opening
from domain.orders.lifecycle import Role
from domain.orders.records import Answer, StoredAnswer
from persistence.orders.postgres import PostgresStore
from persistence.reads.reads import Reads
from persistence.reads.views import AnswerKept, Product, Store, User
from tests.contracts.store_world import World, new_id
from tests.support.database import server_url

pytestmark = pytest.mark.integration

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


def first(number: int = 0, key: str = "key") -> StoredAnswer:
    return StoredAnswer(
        scope="somebody|POST /somewhere", key=key, fingerprint="f", answer=Answer(body={"n": number}), at_ms=1
    )


def person(name: str) -> User:
    return User(
        user_id=new_id(), email=f"{name}@example.org", password_hash="-", role=Role.CUSTOMER, name=name,
        created_ms=0,
    )  # fmt: skip


async def at_once(change: Callable[[int], Awaitable[object]]) -> None:
    """Six of the same key: one makes its change, the others get that one's answer."""
    outcomes: Sequence[object] = await asyncio.gather(*map(change, range(6)), return_exceptions=True)
    [winner] = [n for n, outcome in enumerate(outcomes) if not isinstance(outcome, BaseException)]
    others = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert [type(outcome) for outcome in others] == [AnswerKept] * 5
    assert {outcome.first.answer.body["n"] for outcome in others if isinstance(outcome, AnswerKept)} == {
        winner
    }


async def test_one_change_for_a_key(reads: Reads, world: World) -> None:
    known = await reads.store(world.store_id)
    assert known is not None

    async def store(n: int) -> None:
        await reads.add_store(replace(known, store_id=new_id()), first(n, "store"))

    async def product(n: int) -> None:
        made = Product(
            product_id=new_id(), store_id=known.store_id, name="Ale", category="general", price_cents=1
        )
        await reads.add_products([made], first(n, "product"))

    async def user(n: int) -> None:
        await reads.add_user(person("ann"), first(n, "user"))

    async def keep(n: int) -> None:
        await reads.keep(first(n, "nothing in the database"))

    before = len(await reads.products(known.store_id))
    for change in (store, product, user, keep):
        await at_once(change)
    assert len(await reads.stores(merchant_id=known.merchant_id)) == 2
    assert len(await reads.products(known.store_id)) == before + 1


async def test_hours_are_set_once_and_a_repeat_hears_of_its_own_version(reads: Reads, world: World) -> None:
    def of(after: Store) -> StoredAnswer:
        return first(after.version)

    outcomes = await asyncio.gather(
        *(reads.set_hours(world.store_id, WEEK, (1,), of) for _ in range(6)), return_exceptions=True
    )
    kept = [outcome.first.answer.body for outcome in outcomes if isinstance(outcome, AnswerKept)]
    assert kept == [{"n": 2}] * 5
    await reads.set_hours(world.store_id, (), (2,))
    with pytest.raises(AnswerKept):  # and not VersionMismatch
        await reads.set_hours(world.store_id, WEEK, (1,), of)
    found = await reads.store(world.store_id)
    assert found is not None
    assert (found.hours, found.version) == ((), 3)


async def test_what_is_refused_leaves_no_answer(reads: Reads, world: World) -> None:
    known = await reads.store(world.store_id)
    assert known is not None
    await reads.add_user(person("bob"))
    with pytest.raises(NotFound):
        await reads.add_store(replace(known, store_id=new_id(), merchant_id=new_id()), first())
    with pytest.raises(EmailTaken):
        await reads.add_user(person("bob"), first())
    with pytest.raises(VersionMismatch):
        await reads.set_hours(world.store_id, WEEK, (7,), lambda _: first())
    answer = first()
    assert await reads.stored_answer(answer.scope, answer.key) is None
    await reads.keep(answer)
    assert await reads.stored_answer(answer.scope, answer.key) == answer
