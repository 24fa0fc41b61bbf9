"""Python's cycle collector in a resident process.

A process of Ray has some hundred thousand objects from its imports, and by default each of them is looked at again
after some ten thousand new ones: in gateways and persistence actors that was half of all processor time, and in a
region it made the slowest answers.
"""

from __future__ import annotations

import gc

# New objects before the youngest are looked at; looks at those before the middle ones are; and before all are.
THRESHOLDS = (50_000, 20, 100)


def tune() -> None:
    """Leave what is there now out of collections for ever, and collect less often. To be called when a process has
    imported what it needs. What is freed by its count of references is freed at once as ever."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
