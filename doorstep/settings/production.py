"""What production refuses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Self

from pydantic import model_validator

from doorstep.settings.access import Access
from doorstep.settings.ops import Ops
from doorstep.settings.rate_limits import RateLimits
from doorstep.settings.running import Running
from doorstep.settings.secret_files import MIN_SECRET_BYTES
from doorstep.settings.vendors import Vendors

# In a secret at least; 32 random hexadecimal digits have fewer once in 100,000 times, 64 never.
DIFFERENT_CHARACTERS = 9
_SECRETS = ("jwt_secret", "internal_token", "metrics_token")
_FAKEABLE = ("identity_vendor", "payment_vendor")


class Production(Running, Access, Ops, RateLimits, Vendors):
    """Areas of which production asks more."""

    @model_validator(mode="after")
    def _fit_for_production(self) -> Self:
        if self.environment != "production":
            return self
        problems = []
        if self.speed != 1.0:
            problems.append(f"SPEED must be 1 in production, and is {self.speed:g}")
        if self.rate_limits == "off":
            problems.append("RATE_LIMITS must not be off in production: raise RATE_LIMIT_RULES instead")
        if self.ops_open:
            problems.append("OPS_OPEN must be off in production: mission control shows people's whereabouts")
        problems += [
            f"{name.upper()} is required in production, at least {MIN_SECRET_BYTES} bytes"
            for name in ("jwt_secret", "internal_token")
            if getattr(self, name) is None
        ]
        problems += self._poor_secrets()
        if not self.allow_fake_vendors:
            problems += [
                f"{name.upper()} must name a real vendor in production (or set ALLOW_FAKE_VENDORS=true)"
                for name in _FAKEABLE
                if getattr(self, name) == "fake"
            ]
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _poor_secrets(self) -> Iterator[str]:
        """What is wrong with the secrets that were given: made up by hand, or the same one twice."""
        given = {name: getattr(self, name) for name in _SECRETS}
        known = {name.upper(): value.get_secret_value() for name, value in given.items() if value is not None}
        for name, value in known.items():
            if _is_poor(value):
                yield f"{name} must be random in production, such as `openssl rand -hex 32` makes"
            if value in [other for earlier, other in known.items() if earlier < name]:
                yield f"{name} must not be another secret as well"


def _is_poor(secret: str) -> bool:
    """Whether a secret is no random one: few different characters, or a short text over and over."""
    repeats = any(secret == (secret[:n] * len(secret))[: len(secret)] for n in range(1, len(secret) // 2 + 1))
    return repeats or len(set(secret)) < DIFFERENT_CHARACTERS
