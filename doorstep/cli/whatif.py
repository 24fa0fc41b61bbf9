"""`doorstep replay LOG --set NAME=VALUE`: a day once more with other settings, and what that does to its figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isnan
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from actors.region.segments import LogError
from bench.dispatch.mdrp import POLICY
from domain.region.policy import RegionPolicy
from doorstep.cli.replay import UNUSABLE, segments_of
from sim.days.day import recorded
from sim.days.logday import PING_S, day_of_log
from sim.days.mdrplib import read_mdrplib
from sim.days.overrides import ALIASES, Scene, knobs, parse, value_of
from sim.days.whatif import METRICS, Comparison, History, Metric, Pay, what_if
from sim.demo import replay

Say = Callable[[str], None]

HELP = "help"  # as in `--set help`
LOOK_S = 60.0  # between two looks on a Grubhub day, as in `doorstep bench mdrp`
NEVER_S = 1e9  # a duration so long has no end
FIT_DOUBT = 0.15  # a model that is off by more than this share is worth a warning


class WhatIfOptions(Struct, frozen=True, kw_only=True):
    """`settings` are tried, `given` hold in both runs; `seeds` runs of each, the first with `seed`."""

    log: Path | None
    settings: tuple[str, ...] = ()
    given: tuple[str, ...] = ()
    seed: int = 1
    seeds: int = 1
    pay: Pay = Pay()
    out: Path | None = None


class Source(NamedTuple):
    """Where a day comes from."""

    what: str
    scene: Scene
    history: History | None = None
    notes: tuple[str, ...] = ()


def read_source(path: Path, say: Say) -> Source:
    """A Grubhub instance, a rappi day, or a region's log. `ValueError` or `LogError` when it is none of them."""
    if (path / "orders.txt").is_file():
        day = read_mdrplib(path)
        policy = replace(POLICY, travel=day.travel, services=day.services, offer_lead_s=LOOK_S)
        return Source("Grubhub day", Scene(day=day, policy=policy, look_s=LOOK_S))
    if (path / "orders.csv").is_file():
        day = recorded(replay.read_day(path), promise_s=RegionPolicy().promise_s)
        policy = RegionPolicy(travel=day.travel, services=day.services)
        return Source("rappi day", Scene(day=day, policy=policy, ping_s=PING_S))
    log = day_of_log(segments_of(path), say)
    return Source("recorded day", log.scene, log.history, log.notes)


def what_if_command(options: WhatIfOptions, say: Say) -> int:
    """Print the table, or what can be set; progress goes to `say`. Exit code 0, or 2 with a sentence why not."""
    try:
        if HELP in options.settings or HELP in options.given:
            scene = (
                read_source(options.log, say).scene
                if options.log
                else Scene(day=_NO_DAY, policy=RegionPolicy())
            )
            print("\n".join(settings_lines(scene)))
            return 0
        if options.log is None:
            raise ValueError("Name the log or the folder of the day that is to be tried again.")
        settings, given = parse(options.settings), parse(options.given)
        if options.out is not None:
            options.out.mkdir(parents=True, exist_ok=True)
        source = read_source(options.log, say)
        made = what_if(
            source.scene,
            settings,
            given=given,
            pay=options.pay,
            seeds=range(options.seed, options.seed + options.seeds),
            history=source.history,
            progress=say,
        )
    except (ValueError, LogError) as error:
        say(str(error))
        return UNUSABLE
    except OSError as error:
        say(f"{error.filename} cannot be used: {error.strerror}.")
        return UNUSABLE
    except KeyboardInterrupt:
        return 130
    notes = (*source.notes, *_notes(source, made))
    print("\n".join(table(source, made, notes)))
    if options.out is not None:
        write(options.out, made, notes, say)
    return 0


_NO_DAY = recorded(
    replay.Day(
        name="", shops=(), orders=(), couriers=(), detour=1.0, pickup_service_s=0.0, dropoff_service_s=0.0
    ),
    promise_s=0.0,
)


# -- text -------------------------------------------------------------------------------------------------------------


def settings_lines(scene: Scene) -> list[str]:
    """All that can be set, with its value in the scene and its unit."""
    letters: dict[str, list[str]] = {}
    for letter, path in ALIASES.items():
        letters.setdefault(path, []).append(letter)
    lines = [f"{'setting':<36}{'now':>12}  unit"]
    for path, knob in knobs().items():
        also = f" ({', '.join(letters[path])})" if path in letters else ""
        lines.append(f"{path + also:<36}{_value(value_of(scene, path)):>12}  {knob.unit}".rstrip())
    return [
        *lines,
        "The last part of a name does where only one setting ends in it: rounds is planning.rounds.",
    ]


def table(source: Source, made: Comparison, notes: Sequence[str]) -> list[str]:
    """The two runs beside each other."""
    runs = f"seed {made.seeds[0]}" if len(made.seeds) == 1 else f"means of {len(made.seeds)} runs"
    lines = [f"{source.what} {made.name} · {made.orders:,} orders, {made.couriers:,} couriers · {runs}"]
    for what, values in (("in both", made.given), ("changed", made.settings)):
        told = [
            f"{path} {_value(_before(source, made, what, path))} -> {_value(to)}"
            for path, to in values.items()
        ]
        if told or what == "changed":
            lines.append(f"  {what}: {', '.join(told) or 'nothing'}")
    head = f"{'':<32}{'as it was':>12}{'changed':>12}{'difference':>12}"
    lines.append(head if made.error is None else f"{head}{'±':>9}")
    for metric in METRICS:
        difference = made.difference[metric.name]
        error = None if made.error is None else made.error[metric.name]
        cells = (made.baseline[metric.name], made.changed[metric.name])
        line = f"{metric.label:<32}" + "".join(f"{_number(cell, metric):>12}" for cell in cells)
        line += f"{_number(difference, metric, sign='+'):>12}"
        if error is not None:
            line += f"{_number(error, metric):>9}"
        lines.append(f"{line}  {verdict(metric, difference, error)}".rstrip())
    if made.fit is not None:
        lines += ["", f"{'how well the model fits':<46}{'the log':>12}{'the model':>12}"]
        lines += [f"{what:<46}{_plain(was):>12}{_plain(is_):>12}" for what, (was, is_) in made.fit.items()]
    return [*lines, *(["", *(f"note: {note}" for note in notes)] if notes else [])]


def _before(source: Source, made: Comparison, what: str, path: str) -> Any:
    """What a setting was before it was changed."""
    if what == "changed" and path in made.given:
        return made.given[path]
    return value_of(source.scene, path)


def verdict(metric: Metric, difference: float, error: float | None = None) -> str:
    """`better`, `worse`, or nothing where it does not show, is neither, or is within two standard errors."""
    shown = round(difference, metric.digits)
    if isnan(shown) or shown == 0 or metric.good == 0 or (error is not None and abs(difference) < 2 * error):
        return ""
    return "better" if (shown > 0) == (metric.good > 0) else "worse"


def _notes(source: Source, made: Comparison) -> list[str]:
    """What a reader should know before believing the table."""
    notes = []
    if made.fit is None:
        notes.append(
            "the day is a benchmark's: nobody dispatched it, so there is nothing that the model could fit"
        )
    elif doubts := [what for what, pair in made.fit.items() if _off(*pair) > FIT_DOUBT]:
        notes.append(f"the model is off by more than {FIT_DOUBT:.0%} in: {', '.join(doubts)}")
    answers = {**made.given, **made.settings}
    at_once = all(one.answer_s is None for one in source.scene.day.couriers) and not answers.get(
        "scene.answer_s"
    )
    if "offer_ttl_s" in answers and at_once:
        notes.append(
            "couriers of this day answer at once, so that ttl_s changes nothing: try --given answer_s=15"
        )
    chance = not at_once or any(one.accept_rate is not None for one in source.scene.day.couriers)
    if (chance or "scene.accept" in answers or "scene.fleet" in answers) and len(made.seeds) == 1:
        notes.append("chance has a part in this day: --seeds 5 tells how much of a difference is chance")
    return notes


def _off(was: float, is_: float) -> float:
    return abs(is_ - was) / was if was else 0.0


def _number(value: float, metric: Metric, sign: str = "") -> str:
    if isnan(value):
        return "–"
    value = round(value, metric.digits) + 0.0  # no -0
    return f"{value:{sign if value else ''},.{metric.digits}f}"


def _plain(value: float) -> str:
    return "–" if isnan(value) else f"{value:,.0f}" if value == int(value) else f"{value:,.2f}"


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return "never" if value >= NEVER_S else f"{value:g}"
    return "–" if value is None else str(value) or "none"


# -- files ------------------------------------------------------------------------------------------------------------


def write(folder: Path, made: Comparison, notes: Sequence[str], say: Say) -> None:
    """`whatif.json`, and `whatif.png` where matplotlib is there. `OSError` when the folder cannot be written."""
    told = {**msgspec.to_builtins(made), "notes": list(notes)}
    (folder / "whatif.json").write_bytes(msgspec.json.format(msgspec.json.encode(told), indent=2) + b"\n")
    try:
        chart(folder / "whatif.png", made)
    except ImportError:
        say("matplotlib is not installed: no picture")
    say(f"written to {folder}")


_COLOURS = {"better": "#2a7f62", "worse": "#b5402f", "": "#8a8a8a"}


def chart(path: Path, made: Comparison) -> None:
    """A bar per figure: the difference in % of what it was. `ImportError` without matplotlib."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = [one for one in METRICS if made.baseline[one.name] and not isnan(made.difference[one.name])]
    shares = [100 * made.difference[one.name] / made.baseline[one.name] for one in shown]
    figure = Figure(figsize=(8, 0.34 * len(shown) + 1.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    errors = made.error or {}
    colours = [_COLOURS[verdict(one, made.difference[one.name], errors.get(one.name))] for one in shown]
    bars = axes.barh([one.label for one in shown], shares, color=colours)
    axes.bar_label(bars, [f"{share:+.1f}" for share in shares], padding=3, fontsize=8)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.margins(x=0.15)
    axes.invert_yaxis()
    axes.set_xlabel("difference, % (green better, red worse)")
    changes = ", ".join(f"{path_} = {_value(to)}" for path_, to in made.settings.items())
    axes.set_title(f"{made.name}: {changes or 'nothing changed'}", fontsize=10)
    figure.savefig(path, dpi=120)
