"""Every rulebook of the registry, and the markets that go by them. A new state is found here by its line."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest

from domain.compliance import RULEBOOKS
from domain.compliance.rulebook import Rulebook
from domain.ground.markets import MARKETS, Market, serves

of_each = pytest.mark.parametrize("rulebook", RULEBOOKS.values(), ids=lambda rulebook: rulebook.jurisdiction)
GOOD = {"over_age": True, "not_expired": True, "name_matches": True, "sober": True}


@of_each
def test_a_rulebook_fails_closed(rulebook: Rulebook) -> None:
    strictest = max(rulebook.min_age_by_category.values())
    assert strictest >= 18
    assert rulebook.min_age([]) == strictest
    assert rulebook.min_age(["never heard of"]) == strictest
    assert rulebook.door_failure(**GOOD) is None
    reasons = {rulebook.door_failure(**(GOOD | {flag: False})) for flag in GOOD}
    assert len(reasons) == len(GOOD)
    assert None not in reasons


@of_each
def test_a_rulebook_says_where_it_stands_in_the_law(rulebook: Rulebook) -> None:
    assert RULEBOOKS[rulebook.jurisdiction] is rulebook
    assert rulebook.source
    assert rulebook.age_attempts_limit >= 1
    assert rulebook.age_attempts_s > 0


@pytest.mark.parametrize("market", MARKETS.values(), ids=lambda market: market.id)
def test_a_market_has_rules_and_a_clock(market: Market) -> None:
    assert market.jurisdiction in RULEBOOKS
    assert market.id.startswith(f"{market.jurisdiction.lower()}-")
    assert ZoneInfo(market.timezone).key == market.timezone
    assert serves(market, market.lat, market.lng)
