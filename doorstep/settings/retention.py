"""What is kept, in the database and of the regions' logs, and for how long."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from doorstep.settings.base import LIMITS, Area


class Retention(Area):
    """What is kept for how long (docs/replay.md of the logs)."""

    idempotency_ttl_s: float = Field(
        LIMITS.idempotency_ttl_s,
        ge=60,
        le=2_592_000,
        description="seconds an Idempotency-Key is remembered; 60 to 30 days",
    )
    explain_keep_s: float = Field(
        LIMITS.explain_keep_s,
        ge=0,
        le=31_536_000,
        description="server seconds it can be asked why an offer was made; 0, which keeps nothing, to 365 days",
    )
    offer_log_keep_days: float = Field(
        LIMITS.offer_log_keep_days,
        ge=0,
        le=36_500,
        description="server days an offer stays in the offer log; 0, which keeps it for ever, to 100 years",
    )
    record_dir: Path | None = Field(
        None, description="folder for the regions' logs, which can be replayed; empty records nothing"
    )
    record_segment_mb: int = Field(
        LIMITS.record_segment_mb,
        ge=1,
        le=4_096,
        description="MB of messages in one file of a region's log; 1 to 4096",
    )
    record_total_mb: int = Field(
        LIMITS.record_total_mb,
        ge=2,
        le=1_000_000,
        description="MB of a region's log on disk, beyond which its oldest files are deleted; 2 to 10^6",
    )

    @model_validator(mode="after")
    def _room_for_two_segments(self) -> Self:
        if self.record_total_mb < 2 * self.record_segment_mb:
            raise ValueError(
                f"RECORD_TOTAL_MB must be at least twice RECORD_SEGMENT_MB, which is {self.record_segment_mb}"
            )
        return self
