"""Beginning a region's life with what can be lived with: one bad row must not keep a whole market shut.

A row that cannot be read, or with which the region cannot be made, is set aside: named to people, and nothing is
decided on it until it is mended. All others are restored. Rows that can be read and do not fit each other (a task that
is offered to nobody, an offer of tasks that are not there) are no such case: the region puts them right itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from domain.orders.lifecycle import TASK_HELD, TaskStatus
from domain.orders.records import Aside, RegionImage
from domain.region.jobs import offer_view, task_view
from domain.region.machine import Region
from domain.region.policy import RegionPolicy

# The rows of an image by kind, in the order in which they are tried: field and key. An answer is of a scope and a key.
_KINDS = (
    ("tasks", "task_id"),
    ("offers", "offer_id"),
    ("recent_tasks", "task_id"),
    ("recent_offers", "offer_id"),
    ("answers", "key"),
)


def restored(image: RegionImage, policy: RegionPolicy, now_ms: int) -> Region:
    """The region of this image; what was set aside is in its `aside`. Raises what `Region` does where no row is at
    fault."""
    try:
        return _made(image, policy, now_ms)
    except Exception:
        return _made(_without_bad(image, policy, now_ms), policy, now_ms)


def _made(image: RegionImage, policy: RegionPolicy, now_ms: int) -> Region:
    region = Region(image, policy, now_ms)
    # What drivers would be told and a solver be given: better to know now than in the step that needs it.
    for job in region.state.jobs.values():
        task = job.task
        task_view(task)
        places = (task.pickup_lat, task.pickup_lng, task.dropoff_lat, task.dropoff_lng)
        if not all(map(math.isfinite, places)):
            raise ValueError("a place is nowhere")
        if (task.status in TASK_HELD) is not (task.driver_id is not None):
            raise ValueError("a task is held by nobody, or by somebody though it is free")
        TaskStatus(task.status)
    for offer in region.state.offers.live.values():
        offer_view(offer, region.state.tasks_of(offer), now_ms)
    return region


def _without_bad(image: RegionImage, policy: RegionPolicy, now_ms: int) -> RegionImage:
    """The image without the rows that cannot be lived with: found by halves, whatever is wrong with them."""
    kept = replace(image, **{kind: () for kind, _ in _KINDS})
    _made(kept, policy, now_ms)  # else it is none of the rows

    def add(kind: str, key: str, rows: Sequence[Any]) -> None:
        nonlocal kept
        grown = replace(kept, **{kind: (*getattr(kept, kind), *rows)})
        try:
            _made(grown, policy, now_ms)
        except Exception as error:
            if len(rows) > 1:
                half = len(rows) // 2
                add(kind, key, rows[:half])
                add(kind, key, rows[half:])
                return
            [row] = rows
            bad = Aside(
                table=kind,
                row_id=getattr(row, key),
                order_id=getattr(row, "order_id", None),
                driver_id=getattr(row, "driver_id", None),
                reason=type(error).__name__,
                row=row,
            )
            kept = replace(kept, aside=(*kept.aside, bad))
        else:
            kept = grown

    for kind, key in _KINDS:
        if rows := getattr(image, kind):
            add(kind, key, rows)
    return kept


def is_mended(aside: Aside, image: RegionImage) -> bool:
    """Whether a row that was set aside is another one now, or none, by a later look at the store."""
    if any((one.table, one.row_id) == (aside.table, aside.row_id) for one in image.aside):
        return False
    if aside.row is None:
        return True
    rows = (row for kind, key in _KINDS for row in getattr(image, kind) if getattr(row, key) == aside.row_id)
    return aside.row not in list(rows)
