"""What a cost term looks at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from domain.ground.arrays import F64
from solver.scene import Scene
from solver.units import Units


class Leg(NamedTuple):
    """Drivers on their way to units, in arrays that broadcast against each other.

    `unit` and `driver` index into the columns of `units` and of the request's drivers; `driver` None: whoever brings
    the task that comes before, with its own cost there. `pickup` in seconds from now, `travel` seconds to the store.
    """

    scene: Scene
    units: Units
    unit: Any
    driver: Any
    pickup: F64
    travel: F64


Term: TypeAlias = Callable[[Leg], F64 | float]  # seconds
