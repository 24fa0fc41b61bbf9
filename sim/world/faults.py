"""What goes wrong in a simulated world: kinds of fault, and how often each strikes by the seed's draw.

Every kind draws from a generator of its own, so leaving one kind out does not change what the others do. Where one
market alone is hurt, nothing strikes that does not belong to it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from random import Random

KINDS: dict[str, str] = {
    "crash": "a process ends without a word (kill -9) and is started again",
    "freeze": "a process stands still (SIGSTOP), is replaced, and wakes as a stale twin",
    "store": "the database is slow or loses connections before the commit",
    "ack": "the database commits and its answer is lost",
    "refuse": "the database refuses a region's record, as it would one that a bug has made",
    "lose": "a call between processes, or its answer, is lost",
    "hang": "a call never returns, and nobody says that it failed",
    "delay": "a call between processes takes long, so that later ones overtake it",
    "repeat": "a call between processes arrives twice",
    "clock": "the processes' clocks run apart and are set",
    "step": "the machine's wall clock is set back or forward by up to an hour",
    "lock": "somebody holds an order's row, and statements run into their time-out",
    "hand": "an operator changes rows by hand: an offer ends without its tasks, or an image cannot be restored",
    "tight": "memories are so small that they are full: answers, ended offers, mailboxes",
    "sweep": "answers and explanations are swept after minutes, and old keys are used again",
    "socket": "a driver's socket breaks with what was under way on it",
    "solver": "the solver fails, hangs, or answers long after it was asked",
    "vendor": "the payment vendor, the identity vendor or the event bus does not answer",
    "poison": "the event bus does not take the events of one order",
    "bank": "the payment vendor refuses for good to capture or let go, or holds money and does not say so",
}
_PRESENT = 0.6  # chance that a kind strikes at all in a world
_RATES = (0.25, 1.0, 1.0, 3.0)  # how much more or less often than usual it then does


class Faults:
    """`strikes(kind, chance)` while it lasts; nothing any more after `end`."""

    def __init__(self, seed: int, kinds: Collection[str] = tuple(KINDS), hurt: str | None = None) -> None:
        """`hurt`: the one market that is hurt, None for all of them and what they share."""
        self.seed, self.hurt = seed, hurt
        self._chance = {kind: Random(f"{seed}:{kind}") for kind in KINDS}
        self._rate = {}
        for kind, chance in self._chance.items():
            present, rate = chance.random() < _PRESENT, chance.choice(_RATES)
            self._rate[kind] = rate if present and kind in kinds else 0.0
        self.active = True
        self.struck: Counter[str] = Counter()

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds that strike in this world."""
        return tuple(kind for kind, rate in self._rate.items() if rate)

    def strikes(self, kind: str, chance: float, market: str = "") -> bool:
        """Whether a fault of this kind strikes here, where it usually does with probability `chance`. `market`: whose
        it is, empty for what all share."""
        if not self.active or not self._rate[kind] or (self.hurt is not None and market != self.hurt):
            return False
        hit = self._chance[kind].random() < chance * self._rate[kind]
        self.struck[kind] += hit
        return hit

    def holds(self, kind: str) -> bool:
        """Whether this world has a fault that does not strike but is there all the time."""
        self.struck[kind] += self._rate[kind] > 0
        return self._rate[kind] > 0

    def amount(self, kind: str, low: float, high: float) -> float:
        """How much, once it struck: mostly near `low`, seldom near `high`."""
        return low + (high - low) * self._chance[kind].random() ** 3

    def choice(self, kind: str, number: int) -> int:
        """Which of `number` things is struck."""
        return self._chance[kind].randrange(number)

    def end(self) -> None:
        """No fault strikes from now on."""
        self.active = False
