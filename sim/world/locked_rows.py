"""Rows of a simulated database that somebody at a console holds, and the way round them: what is about one waits for
its lock's time-out and is left out, all else is carried out (`persistence/orders/isolate.py` does so on Postgres).
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from domain.orders.records import Done, Held, Outcome, RegionRecords
from domain.ports import Command
from domain.region.locked_records import behind, orders_of
from sim.world.virtual import VirtualLoop

SUSPECT_S = 2.0  # that a row which was waited for in vain is not waited for again


class Locks:
    """Which orders' rows are held, and until when."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._held_until_s: dict[str, float] = {}
        self._suspect_until_s: dict[str, float] = {}

    def hold(self, order_id: str, for_s: float) -> None:
        """Somebody has this row for so long."""
        self._held_until_s[order_id] = self._loop.time() + for_s

    def held(self, commands: Sequence[Command]) -> set[str]:
        """The orders of these commands whose rows somebody holds now."""
        if not self._held_until_s:
            return set()
        now_s = self._loop.time()
        orders = set().union(*map(_orders, commands))
        return {order_id for order_id in orders if self._held_until_s.get(order_id, 0.0) > now_s}

    def wait_s(self, held: set[str], timeout_s: float) -> float:
        """How long they are waited for: until they are free or the statement may wait no longer, and not at all if they
        were waited for a moment ago."""
        now_s = self._loop.time()
        fresh = [order_id for order_id in held if self._suspect_until_s.get(order_id, 0.0) <= now_s]
        free_s = max((self._held_until_s[order_id] - now_s for order_id in fresh), default=0.0)
        return min(free_s, timeout_s)

    def suspect(self, held: set[str]) -> None:
        """These were waited for in vain."""
        self._suspect_until_s |= dict.fromkeys(held, self._loop.time() + SUSPECT_S)


def _orders(command: Command) -> set[str]:
    return orders_of(command.records) if isinstance(command, RegionRecords) else {command.order_id}


def around(commands: Sequence[Command], held: set[str]) -> tuple[list[Command], list[tuple[str, ...] | None]]:
    """The commands without what has to wait, and of each what that is: ids of records, None for all of an order's."""
    free: list[Command] = []
    left_out: list[tuple[str, ...] | None] = []
    for command in commands:
        if isinstance(command, RegionRecords):
            names = tuple(record.record_id for record in behind(command.records, (), set(held)))
            kept = tuple(record for record in command.records if record.record_id not in names)
            left_out.append(names)
            free.append(replace(command, records=kept))
        elif command.order_id in held:
            left_out.append(None)
        else:
            left_out.append(())
            free.append(command)
    return free, left_out


def told(done: Sequence[Outcome], left_out: Sequence[tuple[str, ...] | None]) -> list[Outcome]:
    """The outcome of each command, from those of what was carried out."""
    rest, outcomes = iter(done), list[Outcome]()
    for names in left_out:
        outcome: Outcome = Held() if names is None else next(rest)
        outcomes.append(Held(names) if names and isinstance(outcome, Done) else outcome)
    return outcomes
