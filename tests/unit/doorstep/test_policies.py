"""Dispatch parameters by market."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from domain.region.policy import RegionPolicy
from doorstep.policies import PolicyError, load_policies
from solver.terms import TERMS

REGIONS = ("tx-dfw", "tx-hou")


def given(folder: Path, content: Any) -> Path:
    path = folder / "policies.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_what_a_market_names_is_its_own_and_the_rest_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TERMS, "mine", TERMS["travel"])
    base = RegionPolicy(offer_ttl_s=20.0)
    changes = {
        "weights": {"lateness": 3.5, "more": {"mine": 2.0}},
        "planning": {"bundle_tries": 0},
        "travel": {"speed_mps": 12.0, "zone_factor": {"872604b9bffffff": 1.2}},
        "escalation": [{"after": 0}, {"after": 3, "alert": True}],
        "give_up_s": 7200,
        "solver": "greedy",
        "batch_solver": "",
    }
    policies = load_policies(given(tmp_path, {"tx-dfw": changes}), REGIONS, base)
    assert list(policies) == ["tx-dfw"]
    policy = policies["tx-dfw"]
    assert (policy.weights.lateness, policy.weights.delay) == (3.5, base.weights.delay)
    assert policy.weights.of("mine") == 2.0
    assert policy.planning.bundle_tries == 0
    assert policy.travel.speed_mps == 12.0  # type: ignore[union-attr]
    assert [step.after for step in policy.escalation] == [0, 3]
    assert (policy.give_up_s, policy.offer_ttl_s) == (7200, 20.0)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "no JSON"),
        ([1], "no JSON"),
        ({"tx-aus": {}}, "tx-aus is not among"),
        ({"tx-dfw": {"wieghts": {}}}, "Did you mean weights"),
        ({"tx-dfw": {"weights": {"latenes": 1}}}, "tx-dfw.weights has no latenes. Did you mean lateness"),
        ({"tx-dfw": {"weights": 3}}, "tx-dfw"),
        ({"tx-dfw": {"offer_ttl_s": "soon"}}, "offer_ttl_s"),
        ({"tx-dfw": {"escalation": [{"after": 2}]}}, "escalation steps rise"),
        ({"tx-dfw": {"travel": {"speed_mps": 0}}}, "above 0"),
        ({"tx-dfw": {"solver": "fats"}}, r"tx-dfw: solver names fats, and there are fast, batch, greedy\.$"),
        ({"tx-hou": {"batch_solver": "fats"}}, "batch_solver names fats"),
        (
            {"tx-dfw": {"weights": {"more": {"mine": 1}}}},
            "weights.more names mine, and there are travel, lateness",
        ),
    ],
)
def test_what_cannot_be_meant_is_told(tmp_path: Path, content: Any, says: str) -> None:
    with pytest.raises(PolicyError, match=says):
        load_policies(given(tmp_path, content), REGIONS, RegionPolicy())


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="cannot be read"):
        load_policies(tmp_path / "none.json", REGIONS, RegionPolicy())
