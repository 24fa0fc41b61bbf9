"""How soon a region may begin another life after one that ended badly, and when it had better give up.

What ends a life (a record that the database always refuses, a step that always fails) is often there again in the next
one. Waits keep such a region from spinning and its log readable; after too many lives that achieved nothing the process
ends, which is louder, and a fresh one tries.
"""

from __future__ import annotations

FIRST_WAIT_S = 0.05  # wall time before the next life; doubles while lives are short ...
LONGEST_WAIT_S = 5.0  # ... up to this
SHORT_LIFE_S = 1.0  # a life of this length ended by something new: the waits begin anew
LIVES_LIMIT = 10  # lives in a row in which nothing became durable


class Restarts:
    """Counts the lives of one process. `now_s`: seconds of any clock that only goes forward."""

    def __init__(
        self,
        *,
        first_wait_s: float = FIRST_WAIT_S,
        longest_wait_s: float = LONGEST_WAIT_S,
        lives_limit: int = LIVES_LIMIT,
    ) -> None:
        self.in_vain = 0  # lives that ended in a row without a successful append
        self._first_wait_s, self._longest_wait_s, self._lives_limit = (
            first_wait_s,
            longest_wait_s,
            lives_limit,
        )
        self._wait_s = 0.0
        self._began_s = 0.0

    def began(self, now_s: float) -> None:
        """A life has begun."""
        self._began_s = now_s

    def appended(self) -> None:
        """Something became durable."""
        self.in_vain = 0

    def ended(self, now_s: float) -> float | None:
        """A life has ended badly: seconds to wait before the next one, None for giving up."""
        self.in_vain += 1
        if self.in_vain >= self._lives_limit:
            return None
        # By its length, not by what it achieved: a deadline may fail at once in every life that answers others.
        short = now_s - self._began_s < SHORT_LIFE_S
        self._wait_s = (
            min(self._wait_s * 2, self._longest_wait_s) if short and self._wait_s else self._first_wait_s
        )
        return self._wait_s
