"""What a road engine and its callers need to know; the meaning of each is in the settings under its name."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct


class RoadOptions(Struct, frozen=True, kw_only=True):
    """Which engine answers, and every limit on asking it."""

    router_mode: Literal["HAVERSINE", "OSRM", "VALHALLA"] = "HAVERSINE"
    osrm_url: str = ""
    valhalla_tiles: str = ""  # folder
    router_timeout_s: float = 2.0
    router_budget_s: float = 4.0
    router_retry_s: float = 30.0
    router_table_limit: int = 100
    router_pairs_limit: int = 20_000
    router_cache_entries: int = 200_000
    router_cache_ttl_s: float = 900.0
