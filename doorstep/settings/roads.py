"""Which road engine is asked, and how long for."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from doorstep.settings.base import ROADS, Area, HttpUrl


class Roads(Area):
    """Travel times (docs/roads.md)."""

    router_mode: Literal["HAVERSINE", "OSRM", "VALHALLA"] = Field(
        ROADS.router_mode,
        description="who knows how long a drive takes: HAVERSINE (arithmetic), OSRM (a server at OSRM_URL)"
        " or VALHALLA (in this process, on VALHALLA_TILES)",
    )
    osrm_url: HttpUrl | None = Field(
        None, description="OSRM-compatible server, as http://host:5000; needed by ROUTER_MODE=OSRM"
    )
    valhalla_tiles: Path | None = Field(
        None,
        description="folder of road tiles made by `doorstep roads build`; empty is `roads` in DATA_DIR",
    )
    valhalla_builder: Path | None = Field(
        None, description="the program valhalla_build_tiles; empty looks in pyvalhalla and on the PATH"
    )
    travel_table: Path | None = Field(
        None,
        description="speeds by zone and hour, written by `doorstep roads calibrate`; empty is 10 m/s and"
        " a detour of 1.35 everywhere",
    )
    router_timeout_s: float = Field(
        ROADS.router_timeout_s,
        gt=0,
        le=60,
        description="seconds for one request to the OSRM server; up to 60",
    )
    router_budget_s: float = Field(
        ROADS.router_budget_s,
        gt=0,
        le=60,
        description="seconds after which one look-up of a solver asks no more and estimates; up to 60",
    )
    router_retry_s: float = Field(
        ROADS.router_retry_s,
        ge=0,
        le=3600,
        description="seconds without a request after the road engine failed; 0 to 3600",
    )
    router_table_limit: int = Field(
        ROADS.router_table_limit,
        ge=2,
        le=10_000,
        description="places in one matrix request, the --max-table-size of the OSRM server; 2 to 10000",
    )
    router_pairs_limit: int = Field(
        ROADS.router_pairs_limit,
        ge=1,
        le=10_000_000,
        description="pairs of places that one call takes to the road engine, the nearest; 1 to 10^7",
    )
    router_cache_entries: int = Field(
        ROADS.router_cache_entries,
        ge=2,
        le=50_000_000,
        description="driving times remembered by each solver process, about 250 bytes each; 2 to 5*10^7",
    )
    router_cache_ttl_s: float = Field(
        ROADS.router_cache_ttl_s,
        gt=0,
        le=86_400,
        description="seconds a driving time is remembered; up to 86400",
    )

    @model_validator(mode="after")
    def _router_has_an_address(self) -> Self:
        if self.router_mode == "OSRM" and self.osrm_url is None:
            raise ValueError("OSRM_URL is required by ROUTER_MODE=OSRM")
        return self
