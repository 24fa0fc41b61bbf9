"""The real deciders against the law: every state x everything that can be asked x everybody, none of it sampled.

Each state is reached for real (`tests/qa/situations.py`), then everybody asks for everything: the region and the row,
the right person and another of the same role. A refusal changes nothing; what is granted is a step of the law.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import NamedTuple, get_args

import pytest

from domain.orders.commands import OrderAction
from domain.orders.lifecycle import OrderStatus, Role
from domain.orders.records import Answer
from domain.region.messages import Action
from tests.qa.law import ALLOWED, Triple
from tests.qa.requests import (
    ON_RECORD,
    REGION,
    REGION_GRANTS,
    ROW_GRANTS,
    ROWS,
    region_refusal,
    row_refusal,
)
from tests.qa.situations import ORDER, PEOPLE, SITUATIONS, Case
from tests.support import build


class Decider(NamedTuple):
    """One of the two that decide, with all that can be asked of it and the law of it."""

    requests: tuple[str, ...]
    grants: dict[str, tuple[tuple[str, ...], frozenset[str]]]
    refusal: Callable[[str, str, str], frozenset[str]]
    ask: Callable[[Case, str, str], Answer]


def _ask_region(case: Case, request: str, name: str) -> Answer:
    person = PEOPLE[name]
    return case.story.ask(person.id, REGION[request](case), person.role)


def _ask_row(case: Case, request: str, name: str) -> Answer:
    return case.command(PEOPLE[name], ROWS[request])


DECIDERS = {
    "region": Decider(tuple(REGION), REGION_GRANTS, region_refusal, _ask_region),
    "row": Decider(tuple(ROWS), ROW_GRANTS, row_refusal, _ask_row),
}


def granted(decider: Decider, request: str, name: str, situation: str) -> bool:
    people, situations = decider.grants[request]
    return name in people and situation in situations


def test_everything_that_can_be_asked_is_asked_of_every_state() -> None:
    case = Case("offered")
    assert {type(make(case)) for make in REGION.values()} == set(get_args(Action))
    assert {type(action) for action in ROWS.values()} == set(get_args(OrderAction))
    assert {person.role for person in PEOPLE.values()} == set(Role)
    assert {situation.status for situation in SITUATIONS.values()} == set(OrderStatus)
    assert len(SITUATIONS) * (len(REGION) + len(ROWS)) * len(PEOPLE) == 20 * 32 * 10


@pytest.mark.parametrize("situation", SITUATIONS)
def test_a_situation_is_what_it_says(situation: str) -> None:
    case = Case(situation)
    assert case.status is SITUATIONS[situation].status
    assert case.steps().items() <= ALLOWED.items()


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("who", DECIDERS)
def test_whoever_may_not_is_refused_and_nothing_has_changed(who: str, situation: str) -> None:
    decider, case = DECIDERS[who], Case(situation)
    before = case.state()
    for request, name in product(decider.requests, PEOPLE):
        if not granted(decider, request, name, situation):
            answer = decider.ask(case, request, name)
            assert answer.code in decider.refusal(request, name, situation), (request, name, answer)
            assert case.state() == before, (request, name)


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("who", DECIDERS)
def test_whoever_may_is_granted_a_step_of_the_law(who: str, situation: str) -> None:
    decider = DECIDERS[who]
    for request, name in product(decider.requests, PEOPLE):
        if granted(decider, request, name, situation):
            case = Case(situation)
            answer = decider.ask(case, request, name)
            assert answer.code == ON_RECORD.get(request), (request, name, answer)
            assert case.steps().items() <= ALLOWED.items(), (request, name)


def test_every_step_of_the_law_is_granted_to_somebody() -> None:
    """The law has no dead letters: what is granted in all situations together is all of it."""
    found: dict[Triple, OrderStatus] = {}
    for decider, situation in product(DECIDERS.values(), SITUATIONS):
        for request, name in product(decider.requests, PEOPLE):
            if granted(decider, request, name, situation):
                case = Case(situation)
                decider.ask(case, request, name)
                found |= case.steps()
    assert found == ALLOWED


@pytest.mark.parametrize("flags", list(product([True, False], repeat=4)))
def test_a_check_passes_with_every_flag_and_with_no_other_combination(flags: tuple[bool, ...]) -> None:
    names = ("over_age", "not_expired", "name_matches", "sober")
    case = Case("at the door")
    check = build.id_check(ORDER, **dict(zip(names, flags, strict=True)))
    answer = case.story.do("ann", check)
    assert answer.body["passed"] is all(flags)
    assert case.status is (OrderStatus.ID_VERIFIED if all(flags) else OrderStatus.RETURNING)
    assert case.story.ask("ann", REGION["deliver"](case)).code == (None if all(flags) else "WRONG_STATE")
