"""A world's story line by line: ids get short names in the order of their appearance, so that people can follow it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

from sim.world.checks.checker import Violation
from sim.world.faults import KINDS
from sim.world.world import STEPS, World

_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
LINE = 260  # characters shown


class Names:
    """`driver-1`, `order-2`, `offer-5` for the ids of one world."""

    def __init__(self) -> None:
        self.world: World | None = None
        self._names: dict[str, str] = {}
        self._count: Counter[str] = Counter()

    def short(self, text: str) -> str:
        """The text with names for ids."""
        return _ID.sub(lambda found: self._name(found[0]), text)

    def _name(self, identifier: str) -> str:
        if identifier not in self._names:
            kind = self._kind(identifier)
            self._count[kind] += 1
            self._names[identifier] = f"{kind}-{self._count[kind]}"
        return self._names[identifier]

    def _kind(self, identifier: str) -> str:
        if self.world is None:
            return "id"
        memory = self.world.checker.memory
        if any(phone.driver_id == identifier for phone in self.world.phones):
            return "driver"
        for kind, table in (("order", memory.orders), ("task", memory.tasks), ("offer", memory.offers)):
            if identifier in table:
                return kind
        return "id"


def tell(
    seed: int,
    line: Callable[[str], None],
    *,
    faults: tuple[str, ...] = tuple(KINDS),
    steps: int = STEPS,
) -> Violation | None:
    """Run one world and tell its story; returns the promise that it broke, if any."""
    names, story = Names(), list[tuple[float, str]]()
    world = World(seed, faults=faults, steps=steps, told=lambda at_s, text: story.append((at_s, text)))
    result = world.run()
    names.world = world  # by now everything has its place in the tables
    for at_s, text in story:
        told = names.short(text)
        line(f"{at_s:9.2f}  {told if len(told) <= LINE else told[:LINE] + '...'}")
    if result.violation is not None:
        line(f"{result.simulated_s:9.2f}  BROKEN  {names.short(str(result.violation))}")
    return result.violation
