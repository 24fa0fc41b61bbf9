"""How many examples a property is tried on."""

from __future__ import annotations

import os

from hypothesis import settings

ALL = bool(os.environ.get("ALL_EXAMPLES"))  # `make test-long`
SHARE = 3


def examples(count: int) -> settings:
    """`count` in the long run, a third of them in every other: for properties whose examples take a while."""
    return settings(max_examples=count if ALL else -(-count // SHARE), deadline=None)
