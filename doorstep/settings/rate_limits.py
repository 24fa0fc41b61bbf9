"""How much of what a client may do."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from doorstep.settings.base import LIMITS, Area


class RateLimits(Area):
    """Rate limits (docs/limits.md)."""

    rate_limits: Literal["auto", "on", "off"] = Field(
        LIMITS.rate_limits,
        description="auto (on), on, or off for load generators and trials; off is refused in production",
    )
    rate_limit_rules: str = Field(
        LIMITS.rate_limit_rules,
        description="limits that differ from the defaults, comma separated: order=60 per minute,read=90/second",
    )
    rate_limit_timeout_s: float = Field(
        LIMITS.rate_limit_timeout_s,
        gt=0,
        le=5,
        description="seconds to wait for Redis' count, then this gateway counts alone; up to 5",
    )
    rate_limit_retry_s: float = Field(
        LIMITS.rate_limit_retry_s,
        ge=0.1,
        le=300,
        description="seconds until Redis is asked again after it did not answer; 0.1 to 300",
    )
    rate_limit_keys: int = Field(
        LIMITS.rate_limit_keys,
        ge=100,
        le=10_000_000,
        description="clients whose counts a gateway keeps, beyond which it forgets the oldest; 100 to 10^7",
    )

    @field_validator("rate_limit_rules")
    @classmethod
    def _budgets(cls, value: str) -> str:
        if value:
            from gateway.http.ratelimit import rules  # slow to load, and most servers have the defaults

            rules(value)
        return value
