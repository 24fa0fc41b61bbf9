"""Dispatch parameters by market, from a JSON file: `{"tx-dfw": {"weights": {"lateness": 3}, "offer_lead_s": 120}}`.

What a market does not name is as the settings and the defaults have it. A list replaces the whole default list.
"""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import Any

import msgspec

from domain.region.policy import RegionPolicy


class PolicyError(ValueError):
    """The file cannot be used; the message says where and why."""


def load_policies(path: Path, regions: tuple[str, ...], base: RegionPolicy) -> dict[str, RegionPolicy]:
    """The policy of each market that the file names. `PolicyError` for whatever is not meant as it stands."""
    try:
        given = msgspec.json.decode(path.read_bytes(), type=dict[str, dict[str, Any]])
    except OSError as error:
        raise PolicyError(f"REGION_POLICIES: {path} cannot be read: {error.strerror}.") from None
    except msgspec.DecodeError as error:
        raise PolicyError(f"REGION_POLICIES: {path} is no JSON of objects by market: {error}.") from None
    if unknown := sorted(set(given) - set(regions)):
        raise PolicyError(f"REGION_POLICIES: {unknown[0]} is not among the markets of REGIONS.")
    return {region: _changed(region, base, changes) for region, changes in given.items()}


def _changed(region: str, base: RegionPolicy, changes: dict[str, Any]) -> RegionPolicy:
    plain = msgspec.to_builtins(base)
    _merge(plain, changes, f"{region}")
    try:
        policy = msgspec.convert(plain, RegionPolicy)
        _require_known(policy)
    except (msgspec.ValidationError, ValueError) as error:
        raise PolicyError(f"REGION_POLICIES: {region}: {error}.") from None
    return policy


def _require_known(policy: RegionPolicy) -> None:
    """`ValueError` for a solver or a cost term that nobody has registered: the market would make no plan, or one that
    leaves out what was wanted."""
    from solver.registry import SOLVERS  # takes long to load
    from solver.terms import TERMS

    named = (
        ("solver", [policy.solver], SOLVERS),
        ("batch_solver", filter(None, [policy.batch_solver]), SOLVERS),
        ("weights.more", policy.weights.more, TERMS),
    )
    for field, names, registry in named:
        for name in names:
            if name not in registry:
                raise ValueError(f"{field} names {name}, and there are {', '.join(registry)}")


def _merge(into: dict[str, Any], changes: dict[str, Any], where: str) -> None:
    for name, value in changes.items():
        if name not in into:
            near = get_close_matches(name, into, 1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise PolicyError(f"REGION_POLICIES: {where} has no {name}.{hint}")
        # A table (zones, more terms) is filled by whoever gives it; what has fields is changed field by field.
        if isinstance(into[name], dict) and isinstance(value, dict) and into[name]:
            _merge(into[name], value, f"{where}.{name}")
        else:
            into[name] = value
