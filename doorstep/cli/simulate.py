"""`doorstep sim`: worlds under faults, many or one."""

from __future__ import annotations

from collections.abc import Callable

from sim.world.campaign import Order, Summary, quietly, run_campaign, shrink
from sim.world.faults import KINDS
from sim.world.transcript import tell
from sim.world.world import World

Say = Callable[[str], None]

TAIL = 60  # lines of a failing world's transcript that are shown


def kinds_of(listed: str | None) -> tuple[str, ...]:
    """The kinds of fault in a comma-separated list; all of them for None, `none` for no fault. `ValueError` names one
    that there is not."""
    if listed is None:
        return tuple(KINDS)
    wanted = [kind.strip() for kind in listed.split(",") if kind.strip() and kind.strip() != "none"]
    for kind in wanted:
        if kind not in KINDS:
            raise ValueError(f"There is no fault '{kind}'. There are: {', '.join(KINDS)}.")
    return tuple(kind for kind in KINDS if kind in wanted)


def campaign(order: Order, workers: int | None, say: Say) -> int:
    """Run the worlds; exit status 0 when no promise was broken and everything was seen that there is to see."""
    try:
        summary = run_campaign(order, say, workers=workers)
    except KeyboardInterrupt:
        return 130
    print(summary.table())
    if summary.violations:
        _explain(summary, order, say)
        return 1
    if missed := summary.missed(order):
        say(f"These worlds have shown too little; none of them saw: {', '.join(missed)}.")
        return 1
    return 0


def _explain(summary: Summary, order: Order, say: Say) -> None:
    """The first broken promise: the least that it takes, and how it came about."""
    seed, violation = min(summary.violations, key=lambda one: one[0])
    say(f"looking for the least that breaks seed {seed}")
    story: list[str] = []
    with quietly():
        least = shrink(seed, order, violation, say)
        tell(seed, story.append, faults=least.faults, steps=least.steps)
    shown = story[-TAIL:]
    print(f"\nseed {seed}: {least.violation}\n... {len(story) - len(shown)} lines before")
    print("\n".join(shown))
    faults = ",".join(least.faults) or "none"
    print(f"\nAll of it: doorstep sim --seed {seed} --faults {faults} --steps {least.steps} --trace")


def one(seed: int, order: Order, trace: bool) -> int:
    """Run one world, telling its story if wanted; exit status 1 when it broke a promise."""
    with quietly():
        if trace:
            return 1 if tell(seed, print, faults=order.faults, steps=order.steps) is not None else 0
        result = World(seed, faults=order.faults, steps=order.steps).run()
    print(f"seed {seed}: {result.violation or 'every promise held'}")
    print(
        f"{result.steps:,} messages in {result.simulated_s:,.0f} server seconds, decisions {result.decisions}"
    )
    return 1 if result.violation is not None else 0
