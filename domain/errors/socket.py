"""The driver socket."""

from __future__ import annotations

from domain.errors.base import Refusal


class BadFrame(Refusal):
    """The frame is not valid JSON of a known message."""

    code, status, hint = "BAD_FRAME", 400, "See docs/protocol.md; three bad frames in a row close the socket."
