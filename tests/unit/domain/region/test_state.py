"""The tables beneath the machine: whatever is done to them, and in which order, they agree on offers and holders."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.orders.lifecycle import OfferStatus
from domain.orders.records import OfferRow
from domain.region import state
from domain.region.state import Holdings, OfferTable

FOLDER = Path(state.__file__).parent
DRIVERS, BUNDLES = ("ann", "bob", "cy"), (("t1",), ("t2",), ("t3", "t4"))
numbers = count()


def offer(driver_id: str = "ann", task_ids: tuple[str, ...] = ("t1",), expires_ms: int = 30_000) -> OfferRow:
    return OfferRow(
        offer_id=f"offer-{next(numbers)}",
        region_id="tx-dfw",
        driver_id=driver_id,
        task_ids=task_ids,
        status=OfferStatus.OFFERED,
        made_ms=0,
        expires_ms=expires_ms,
        features={},
    )


def check(table: OfferTable) -> None:
    assert {one.offer_id for one in table.live.values()} == set(table.live)
    assert {one.driver_id: one.offer_id for one in table.live.values()} == table.by_driver
    listed = [offer_id for offer_ids in table.by_tasks.values() for offer_id in offer_ids]
    assert sorted(listed) == sorted(table.live)
    assert all(table.by_tasks.values()), "tasks without an offer are not among the offered"
    offered = [task_id for task_ids in table.by_tasks for task_id in task_ids]
    assert len(offered) == len(set(offered)), "a task in two bundles"
    next_ms = table.next_ms()
    assert not table.live or (
        next_ms is not None and next_ms <= min(one.expires_ms for one in table.live.values())
    )


@given(
    st.lists(
        st.tuples(st.sampled_from(["put", "take", "prolong", "past"]), st.integers(0, 8), st.integers(0, 99))
    )
)
def test_the_tables_of_offers_agree_whatever_is_done(script: list[tuple[str, int, int]]) -> None:
    table, now_ms = OfferTable(5), 0
    for what, which, wait_ms in script:
        now_ms += wait_ms
        live = list(table.live.values())
        if what == "put":
            one = offer(DRIVERS[which % 3], BUNDLES[which // 3], now_ms + 60)
            fits = table.fits(one)
            assert fits is not table.asks(one.driver_id), (
                "only the driver's own offer is in the way of these bundles"
            )
            if fits:
                table.put(one)
                assert (table.get(one.offer_id), table.of_driver(one.driver_id)) == (one, one)
                assert one in table.of_tasks(one.task_ids)
        elif what == "past":
            gone = table.past(now_ms)
            assert gone is None or gone.expires_ms <= now_ms
            assert gone is not None or all(one.expires_ms > now_ms for one in live)
            if gone is not None:
                table.take_off(gone, OfferStatus.EXPIRED)
        elif live:
            one = live[which % len(live)]
            if what == "take":
                table.take_off(one, OfferStatus.REJECTED)
                assert (table.get(one.offer_id), table.closed.get(one.offer_id)) == (
                    None,
                    OfferStatus.REJECTED,
                )
            else:
                table.prolong(replace(one, expires_ms=one.expires_ms + 60))
        check(table)


def test_an_offer_of_a_part_of_a_bundle_does_not_fit() -> None:
    table = OfferTable(5)
    table.put(offer("ann", ("t3", "t4")))
    assert not table.fits(offer("bob", ("t3",)))
    assert table.fits(offer("bob", ("t3", "t4"))), "the same bundle may go to several"
    assert table.tasks() == {"t3", "t4"}


def test_a_second_offer_of_a_driver_is_a_bug() -> None:
    table = OfferTable(5)
    table.put(offer("ann"))
    with pytest.raises(AssertionError):
        table.put(offer("ann", ("t2",)))


def test_an_offer_that_was_prolonged_is_past_its_time_later_and_once() -> None:
    table, one = OfferTable(5), offer(expires_ms=10)
    table.put(one)
    later = replace(one, expires_ms=20)
    table.prolong(later)
    assert table.past(15) is None
    assert table.past(20) == later
    assert table.past(99) is None


@given(st.lists(st.tuples(st.booleans(), st.sampled_from(DRIVERS), st.sampled_from(["t1", "t2", "t3"]))))
def test_who_holds_nothing_is_not_among_the_holders(script: list[tuple[bool, str, str]]) -> None:
    holdings, held = Holdings(), set[tuple[str, str]]()
    for takes, driver_id, task_id in script:
        if takes:
            holdings.add(driver_id, task_id)
            held.add((driver_id, task_id))
        elif (driver_id, task_id) in held:
            holdings.remove(driver_id, task_id)
            held.remove((driver_id, task_id))
        assert set(holdings) == {driver for driver, _ in held}
        for driver in DRIVERS:
            mine = {task for holder, task in held if holder == driver}
            assert (set(holdings.of(driver)), driver in holdings) == (mine, bool(mine))
            assert sorted(task for trip in holdings.trips(driver) for task in trip) == sorted(mine)


def test_trips_are_in_the_order_in_which_their_offers_were_taken() -> None:
    holdings = Holdings()
    for task_id in ("back", "t1", "t2", "t3"):
        holdings.add("ann", task_id)
    holdings.took("ann", ("t3", "t1"))
    holdings.took("ann", ("t2",))
    assert holdings.trips("ann") == [["back"], ["t3", "t1"], ["t2"]]
    holdings.remove("ann", "t3")
    assert holdings.trips("ann") == [["back"], ["t1"], ["t2"]]


# -- nobody else changes the tables -----------------------------------------------------------------------------------

TABLES = {
    "jobs",
    "by_order",
    "open",
    "ended",
    "offers",
    "holdings",
    "live",
    "closed",
    "by_driver",
    "by_tasks",
}
CHANGES = {"pop", "popitem", "clear", "update", "setdefault", "append", "remove", "discard"}


def changes_in(source: str) -> Iterator[str]:
    """Where an entry of a table is set or deleted, or a method of a dictionary or a list changes one."""
    for node in ast.walk(ast.parse(source)):
        changed: list[ast.expr] = []
        if isinstance(node, ast.Assign | ast.Delete):
            changed = [target.value for target in node.targets if isinstance(target, ast.Subscript)]
        elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Subscript):
            changed = [node.target.value]
        elif (
            isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CHANGES
        ):
            changed = [node.func.value]
        for table in changed:
            if isinstance(table, ast.Attribute) and table.attr in TABLES - {"holdings"}:
                yield f"{table.lineno}: {ast.unparse(node)}"


def test_only_the_state_changes_its_tables() -> None:
    files = [path for path in FOLDER.rglob("*.py") if path.name not in ("state.py", "fleet.py")]
    assert {path.name: found for path in files if (found := list(changes_in(path.read_text())))} == {}


@pytest.mark.parametrize(
    ("line", "changes"),
    [
        ("state.open[task_id] = None", True),
        ("del state.offers.live[offer_id]", True),
        ("self.state.jobs.pop(task_id)", True),
        ("state.offers.by_tasks.setdefault(ids, [])", True),
        ("state.holdings.remove(driver_id, task_id)", False),
        ("job = state.jobs[task_id]", False),
        ("state.counters['orders'] += 1", False),
    ],
)
def test_the_test_sees_changes(line: str, changes: bool) -> None:
    assert bool(list(changes_in(line))) is changes
