"""The dossier in the database against the law: every state x event x role x outcome, true or made up."""

from __future__ import annotations

from itertools import product

import pytest

from domain.orders.lifecycle import ORDER, OrderEvent, OrderStatus, Role
from tests.contracts.store_world import new_id
from tests.qa.law import ALLOWED, BIRTH, Triple, way_to
from tests.qa.rows import WRITTEN, Rows

pytestmark = pytest.mark.integration


def event(order_id: str, seq: int, what: OrderEvent, role: Role, status: OrderStatus) -> str:
    """The statement that adds an event which links as it should; what is hashed is nobody's business here."""
    prev, own = (f"decode(repeat('{number:02x}', 32), 'hex')" for number in (seq - 1, seq))
    return (
        f"INSERT INTO dossier_events VALUES ('{order_id}', {seq}, '{what}', '{status}', 1, '{role}:{new_id()}',"
        f" '{{}}', {prev}, {own})"
    )


async def test_the_steps_are_the_lifecycle(rows: Rows) -> None:
    found = await rows.connection.fetch("SELECT from_status, event, role, to_status FROM order_steps")
    steps = {
        (str(at), str(event), str(role), str(edge.to))
        for (at, event), edge in ORDER.items()
        for role in edge.roles
    }
    assert {tuple(row) for row in found} == steps | {("", *map(str, BIRTH))}


async def test_every_state_event_role_and_outcome(rows: Rows) -> None:
    """A dossier tells of no step that the law does not know, nor of a lawful one that led elsewhere."""
    written = 0
    for at in OrderStatus:
        order_id = await rows.order(door=False)
        way = [BIRTH, *((triple.event, triple.role, to) for triple, to in way_to(at))]
        for seq, (what, role, to) in enumerate(way, 1):
            await rows.connection.execute(event(order_id, seq, what, role, to))
        steps, seq = list(product(OrderEvent, Role, OrderStatus)), len(way) + 1
        outcomes = await rows.attempts(event(order_id, seq, what, role, to) for what, role, to in steps)
        for (what, role, to), outcome in zip(steps, outcomes, strict=True):
            lawful = ALLOWED.get(Triple(at, what, role)) is to
            assert outcome == (WRITTEN if lawful else "dossier_events_step"), (at, what, role, to)
            written += lawful
    assert written == len(ALLOWED)


async def test_a_dossier_begins_with_the_customers_order(rows: Rows) -> None:
    order_id = await rows.order(door=False)
    firsts = list(product(OrderEvent, Role, OrderStatus))
    outcomes = await rows.attempts(event(order_id, 1, what, role, to) for what, role, to in firsts)
    assert [first for first, outcome in zip(firsts, outcomes, strict=True) if outcome == WRITTEN] == [BIRTH]
    assert set(outcomes) == {WRITTEN, "dossier_events_step"}
