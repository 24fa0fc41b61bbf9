"""What a driver sends from the door, and from the store when goods come back."""

from __future__ import annotations

from typing import Any

from domain.orders.lifecycle import TaskKind
from domain.protocol import TaskView
from sim.bot.personas import Door

_VENDOR_TOKEN = {
    Door.UNDER_AGE: "fake:under_age",
    Door.EXPIRED_ID: "fake:expired",
    Door.WRONG_NAME: "fake:wrong_name",
}

_REASON = {Door.EXPIRED_ID: "ID_EXPIRED", Door.WRONG_NAME: "NAME_MISMATCH"}


def door_request(task: TaskView, stage: str, door: Door) -> tuple[str, dict[str, Any]]:
    """Path and body of the POST that this stage (`check`, `refuse` or `deliver`) of the task asks for."""
    order = f"/v1/orders/{task.order_id}"
    if task.kind == TaskKind.RETURN:
        return f"/v1/tasks/{task.task_id}/return/confirm", {}
    if stage == "check":
        token = _VENDOR_TOKEN.get(door, "fake:pass")
        return f"{order}/doorstep_id_check/submit", {
            "method": "scan",
            "vendor_token": token,
            "sober": door is not Door.INTOXICATED,
        }
    if stage == "refuse":
        # Everything went well at this door but for the check itself: it came to no result, time after time.
        reason = "ID_CHECK_INCONCLUSIVE" if door is Door.PASS else _REASON.get(door, door.value.upper())
        return f"{order}/refuse", {"reason": reason}
    return f"{order}/deliver/confirm", {}
