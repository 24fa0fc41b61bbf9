"""What operators see."""

from __future__ import annotations

from pydantic import Field

from doorstep.settings.base import LIMITS, Area, configured


class Ops(Area):
    """Mission control."""

    ops_frame_s: float = Field(
        LIMITS.ops_frame_s, ge=0.05, le=10, description="seconds between mission-control frames; 0.05 to 10"
    )
    ops_positions: int = Field(
        LIMITS.ops_positions,
        ge=0,
        le=100_000,
        description="driver positions in one mission-control frame; 0 to 100000",
    )
    ops_open: bool = Field(
        configured("ops_open"), description="show mission control without signing in; refused in production"
    )
    tile_url: str | None = Field(
        None, description="map tiles as a URL with {z}, {x} and {y}; empty draws the built-in street-less map"
    )
