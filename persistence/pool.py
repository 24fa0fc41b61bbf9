"""Bounds of a pool of database connections, apart from the engine, which takes long to load."""

from __future__ import annotations

POOL_SIZE = 8
STATEMENT_TIMEOUT_S = 10.0
CONNECT_TIMEOUT_S = 10.0  # also for a connection of the pool to be free
LOCK_TIMEOUT_S = 0.5
IDLE_TIMEOUT_S = 5.0
