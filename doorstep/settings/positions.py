"""Which positions are believed."""

from __future__ import annotations

from pydantic import Field

from doorstep.settings.base import LIMITS, Area


class Positions(Area):
    """Which positions are believed (docs/gateway.md)."""

    fix_age_s: float = Field(
        LIMITS.fix_age_s,
        gt=0,
        le=3600,
        description="seconds after which a position is too old to be taken; up to 3600",
    )
    fix_clock_s: float = Field(
        LIMITS.fix_clock_s,
        ge=0,
        le=3600,
        description="seconds of positions that are all as old until it is the phone's clock that is wrong; 0 to 3600",
    )
    fix_accuracy_m: float = Field(
        LIMITS.fix_accuracy_m,
        ge=1,
        le=1e6,
        description="metres by which a position may be wrong to be taken; 1 to 10^6",
    )
    fix_speed_mps: float = Field(
        LIMITS.fix_speed_mps,
        ge=1,
        le=1e7,
        description="metres a second that a driver is believed to drive; 1 to 10^7",
    )
    fix_slack_m: float = Field(
        LIMITS.fix_slack_m, ge=0, le=1e6, description="metres that a position may jump at any time; 0 to 10^6"
    )
    fix_reach_m: float = Field(
        LIMITS.fix_reach_m,
        ge=0,
        le=1e6,
        description="metres beyond a market's radius where a driver of it may be; 0 to 10^6",
    )
    fix_confirmations: int = Field(
        LIMITS.fix_confirmations,
        ge=1,
        le=100,
        description="positions in a row that agree to make a jump believed; 1 to 100",
    )
