from __future__ import annotations

from tests.unit.gateway.conftest import world

__all__ = ["world"]
