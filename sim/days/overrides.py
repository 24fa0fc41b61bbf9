"""What can be changed of a scene, by name: the objective's letters, the fields of the policy, the fleet, the speed.

A name leads to a path: `weights.X`, `planning.X`, `services.X` and `scene.X` say where, any other is a field of
`RegionPolicy`. The last part alone does where only one path ends in it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from functools import cache
from math import inf, isfinite
from random import Random
from types import UnionType
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from domain.ground.travel import Haversine, TravelModel
from domain.region.policy import RegionPolicy
from domain.solve import Planning, Services, Weights
from sim.days.day import Day, DayCourier
from solver.registry import SOLVERS
from solver.terms import TERMS


class Scene(Struct, frozen=True, kw_only=True):
    """A day and how it is dispatched. `look_s`, `ping_s`: see `simulate.run_day`. `shares`: what was changed of the
    day itself, by name, to be told."""

    day: Day
    policy: RegionPolicy
    look_s: float | None = None
    ping_s: float | None = None
    shares: dict[str, float] = {}


class Knob(NamedTuple):
    """A thing that can be set: the type of its values and their least and greatest."""

    path: str
    kind: Any
    unit: str
    least: float = 0.0
    most: float = inf

    def read(self, text: str) -> Any:
        """The value that a person wrote; `ValueError` says what would do."""
        words = {"true": True, "on": True, "yes": True, "false": False, "off": False, "no": False}
        kind, *others = _kinds(self.kind)
        optional = type(None) in others
        if optional and text.lower() in ("none", "never"):
            return None
        if kind is bool:
            if text.lower() not in words:
                raise ValueError(f"{self.path} is true or false, and not {text}")
            return words[text.lower()]
        if kind is str:
            if self.path != "solver" and text in ("", "none"):
                return ""
            if text not in SOLVERS:
                raise ValueError(f"{self.path} is one of {', '.join(SOLVERS)}, and not {text}")
            return text
        try:
            number = kind(text)
        except ValueError:
            what = "a whole number" if kind is int else "a number"
            raise ValueError(
                f"{self.path} is {what}{' or none' if optional else ''}, and not {text!r}"
            ) from None
        if not (isfinite(number) and self.least <= number <= self.most):
            limits = f"at least {self.least:g}" if self.most == inf else f"{self.least:g} to {self.most:g}"
            raise ValueError(f"{self.path} is {limits}, and not {text}")
        return number


ALIASES = {
    "alpha": "weights.travel",
    "beta": "weights.lateness",
    "gamma": "weights.delay",
    "rho": "weights.risk",
    "lambda": "weights.fairness",
    "mu": "weights.zone",
    "ttl_s": "offer_ttl_s",
}

# Of the scene and not of the policy.
_SCENE = (
    Knob("scene.fleet", float, "times the couriers", 0.01, 10.0),
    Knob("scene.speed", float, "times as fast", 0.1, 10.0),
    Knob("scene.accept", float, "share of offers that each courier takes", 0.05, 1.0),
    Knob("scene.answer_s", float | None, "s, mean until an offer is answered", 0.1, 3600.0),
    Knob("scene.look_s", float | None, "s between two looks on command", 1.0, 3600.0),
)
# What a day on the virtual market does not depend on: memories, screens, and promises, which are the day's own.
NOT_MODELLED = frozenset(
    {
        *("answers_limit", "closed_offers_limit", "ended_tasks_limit", "decisions_limit", "push_ring", "repush_s"),
        *("view_points", "demand_window_s", "demand_limit", "hex_resolution", "explain", "solve_timeout_s"),
        *("promise_s", "prep_s", "driver_forget_s", "hold_limit"),
    }
)  # fmt: skip
_LIMITS = {
    "offer_ttl_s": (1.0, inf),
    "fast_window_s": (0.0, inf),
    "fast_max_wait_s": (0.1, inf),
    "driver_stale_s": (3.0, inf),
    "driver_lost_s": (3.0, inf),
    "candidates": (1, 10_000),
    "solve_tasks_limit": (1, inf),
    "expected_limit": (1, inf),
    "refusal_prior": (0.0, 1.0),
    "zone_resolution": (0, 15),
    "give_up_s": (60.0, inf),
}
_UNITS = {
    "weights.delay_squared_per_min": "per min and s of delay",
    "weights.fairness": "s per order ahead",
    "weights.zone": "s",
    "planning.left_out_pressure": "s",
}
_SUFFIXES = {"_s": "s", "_per_h": "per hour", "_min": "min"}
_GROUPS: dict[str, type[Struct]] = {"weights": Weights, "planning": Planning, "services": Services}
_SIMPLE = {float, int, bool, str, type(None)}


@cache
def knobs() -> dict[str, Knob]:
    """All that can be set, by path, in the order in which it is shown."""
    made = [_knob(f"weights.{name}", float) for name in TERMS if name not in Weights.__struct_fields__]
    for group, kind in _GROUPS.items():
        made += [_knob(f"{group}.{one.name}", one.type) for one in msgspec.structs.fields(kind)]
    made += [_knob(one.name, one.type) for one in msgspec.structs.fields(RegionPolicy)]
    simple = [one for one in made if _SIMPLE.issuperset(_kinds(one.kind)) and one.path not in NOT_MODELLED]
    return {one.path: one for one in (*_SCENE, *simple)}


def _kinds(kind: Any) -> tuple[Any, ...]:
    """The kinds of a union, or the one."""
    return kind.__args__ if isinstance(kind, UnionType) else (kind,)


def _knob(path: str, kind: Any) -> Knob:
    suffix = next((unit for end, unit in _SUFFIXES.items() if path.endswith(end)), "")
    plain = "per s" if path.startswith("weights.") and not suffix else suffix
    return Knob(path, kind, _UNITS.get(path, plain), *_LIMITS.get(path, (0.0, inf)))


@cache
def names() -> dict[str, str]:
    """Every name and the path that it leads to: paths, letters, and last parts where they are one path's alone."""
    last = Counter(path.rpartition(".")[2] for path in knobs())
    short = {path.rpartition(".")[2]: path for path in knobs()}
    alone = {name: path for name, path in short.items() if last[name] == 1}
    return alone | {path: path for path in knobs()} | ALIASES


def parse(settings: Sequence[str]) -> dict[str, Any]:
    """`NAME=VALUE` for each; values by path. `ValueError`: a sentence about the first that cannot be meant."""
    found: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = (part.strip() for part in setting.partition("="))
        if not equals or not name or not text:
            raise ValueError(f"{setting!r} is not NAME=VALUE, such as beta=2.")
        path = _path_of(name)
        if path in found:
            raise ValueError(f"{path} is set twice.")
        try:
            found[path] = knobs()[path].read(text)
        except ValueError as error:
            raise ValueError(f"{setting}: {error}.") from None
    return found


def _path_of(name: str) -> str:
    if name in NOT_MODELLED:
        raise ValueError(f"{name} cannot be tried: a day on the virtual market does not depend on it.")
    if path := names().get(name) or names().get(name.lower()):
        return path
    near = get_close_matches(name.lower(), names(), n=3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(near)}?" if near else "`--set help` lists what can be set."
    raise ValueError(f"There is no setting {name}. {hint}")


def value_of(scene: Scene, path: str) -> Any:
    """What is set at a path now."""
    group, _, name = path.rpartition(".")
    if group == "scene":
        return scene.look_s if name == "look_s" else scene.shares.get(name, _PLAIN.get(name))
    owner = getattr(scene.policy, group) if group else scene.policy
    return owner.of(name) if isinstance(owner, Weights) else getattr(owner, name)


_PLAIN = {"fleet": 1.0, "speed": 1.0}


def turned(scene: Scene, settings: dict[str, Any], seed: int) -> Scene:
    """The scene with these values at their paths. `ValueError`: they do not go together."""
    for path, value in settings.items():
        group, _, name = path.rpartition(".")
        if group == "scene":
            scene = _TURNS[name](scene, value, seed)
        elif group == "weights" and name not in Weights.__struct_fields__:
            more = scene.policy.weights.more | {name: value}
            scene = _with_policy(scene, weights=replace(scene.policy.weights, more=more))
        elif group:
            part = replace(getattr(scene.policy, group), **{name: value})
            scene = _with_policy(scene, **{group: part})
    plain = {path: value for path, value in settings.items() if "." not in path}
    return _with_policy(scene, **plain)  # at once: two may only go together


def _with_policy(scene: Scene, **changes: Any) -> Scene:
    return replace(scene, policy=replace(scene.policy, **changes))


# -- of the scene -----------------------------------------------------------------------------------------------------


def person(courier_id: str) -> str:
    """Who drives a shift: the shifts of a day have ids of their own, `ann#2` is Ann's second."""
    return courier_id.partition("#")[0]


def _fleet(scene: Scene, times: float, seed: int) -> Scene:
    """So many times the people, drawn by the seed; a smaller fleet is part of a larger one."""
    shifts: dict[str, list[DayCourier]] = {}
    for one in scene.day.couriers:
        shifts.setdefault(person(one.id), []).append(one)
    people = sorted(shifts)
    Random(f"fleet/{seed}").shuffle(people)
    kept = []
    for n in range(round(times * len(people))):
        again, who = divmod(n, len(people))
        kept += [replace(one, id=f"{'twin-' * again}{one.id}") for one in shifts[people[who]]]
    return _with_day(scene, "fleet", times, couriers=tuple(sorted(kept, key=lambda one: (one.on_ms, one.id))))


def _speed(scene: Scene, times: float, seed: int) -> Scene:
    """All drives so many times as fast, and the region knows."""
    made = _with_day(scene, "speed", times, travel=faster(scene.day.travel, times))
    return _with_policy(made, travel=faster(scene.policy.travel, times))


def _couriers(name: str, field: str) -> Callable[[Scene, Any, int], Scene]:
    def turn(scene: Scene, value: Any, seed: int) -> Scene:
        couriers = tuple(replace(one, **{field: value}) for one in scene.day.couriers)
        return _with_day(scene, name, value, couriers=couriers)

    return turn


def _with_day(scene: Scene, name: str, value: Any, **changes: Any) -> Scene:
    return replace(scene, day=replace(scene.day, **changes), shares=scene.shares | {name: value})


_TURNS: dict[str, Callable[[Scene, Any, int], Scene]] = {
    "fleet": _fleet,
    "speed": _speed,
    "accept": _couriers("accept", "accept_rate"),
    "answer_s": _couriers("answer_s", "answer_s"),
    "look_s": lambda scene, value, seed: replace(scene, look_s=value),
}


def faster(travel: TravelModel, times: float) -> TravelModel:
    """The travel model with every drive at so many times the speed."""
    if isinstance(travel, Haversine):
        return replace(travel, speed_mps=travel.speed_mps * times)
    return replace(travel, metres_per_grain=travel.metres_per_grain * times)
