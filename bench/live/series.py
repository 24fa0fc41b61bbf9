"""Measured times: all of them are kept, so that quantiles are exact."""

from __future__ import annotations

from array import array

from sim.demo.summary import percentile

SHARES = (0.5, 0.9, 0.99)


class Series:
    """Durations in the order in which they ended, seconds."""

    def __init__(self) -> None:
        self._all = array("d")
        self._taken = 0

    def __len__(self) -> int:
        return len(self._all)

    def add(self, seconds: float) -> None:
        self._all.append(seconds)

    def summary(self, name: str) -> dict[str, float | None]:
        """p50, p90, p99, largest and number of all; None of nothing. Milliseconds."""
        return _summary(name, sorted(self._all))

    def window(self, name: str) -> dict[str, float | None]:
        """The same of what was added since the last call."""
        new = sorted(self._all[self._taken :])
        self._taken = len(self._all)
        return _summary(name, new)

    def sorted(self) -> list[float]:
        """All, the shortest first."""
        return sorted(self._all)


def _summary(name: str, ordered: list[float]) -> dict[str, float | None]:
    found: dict[str, float | None] = {
        f"{name}_p{round(100 * share)}_ms": round(1000 * percentile(ordered, share), 2) if ordered else None
        for share in SHARES
    }
    return found | {
        f"{name}_max_ms": round(1000 * ordered[-1], 2) if ordered else None,
        f"{name}_count": len(ordered),
    }
