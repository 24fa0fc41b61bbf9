"""What of a region's answer may leave the server."""

from __future__ import annotations

from domain.errors import NotFound, NotTaskHolder
from domain.orders.records import Answer

_NOT_YOURS = Answer(code=NotFound.code, detail="There is no such task.")


def redacted(answer: Answer) -> Answer:
    """The answer as its asker may know it: that a task is somebody else's is not their business."""
    return _NOT_YOURS if answer.code == NotTaskHolder.code else answer
