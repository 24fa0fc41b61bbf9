"""Secrets, and who is believed."""

from __future__ import annotations

import re

from pydantic import Field, SecretStr, field_validator

from doorstep.settings.base import LIMITS, Area
from doorstep.settings.secret_files import MIN_SECRET_BYTES

_ORIGIN = re.compile(r"https?://(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")


class Access(Area):
    """Who may do what."""

    jwt_secret: SecretStr | None = Field(
        None,
        description="key that signs access tokens, at least 32 bytes; generated and kept in DATA_DIR"
        " outside production",
    )
    jwt_ttl_s: int = Field(43_200, ge=60, le=2_592_000, description="seconds a token is valid; 60 to 30 days")
    internal_token: SecretStr | None = Field(
        None,
        description="bearer token of /internal endpoints, at least 32 bytes; generated and kept in DATA_DIR"
        " outside production",
    )
    metrics_token: SecretStr | None = Field(
        None,
        description="bearer token of /metrics, at least 32 bytes; generated and kept in DATA_DIR unless given",
    )
    account_keep_s: float = Field(
        LIMITS.account_keep_s,
        ge=0,
        le=300,
        description="seconds a gateway believes that an account is not disabled, deleted or demoted; 0 to 300",
    )
    allowed_origins: str = Field(
        "",
        description="origins of other pages that may open sockets and streams here, comma separated, such as"
        " https://ops.example.org",
    )
    trusted_proxies: int = Field(
        LIMITS.trusted_proxies,
        ge=0,
        le=10,
        description="proxies of ours before the gateway, whose X-Forwarded-For is believed; 0 to 10",
    )

    @field_validator("jwt_secret", "internal_token", "metrics_token")
    @classmethod
    def _long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value().encode()) < MIN_SECRET_BYTES:
            raise ValueError(f"must be at least {MIN_SECRET_BYTES} bytes long")
        return value

    @field_validator("allowed_origins")
    @classmethod
    def _origins(cls, value: str) -> str:
        origins = [part.strip().lower() for part in value.split(",") if part.strip()]
        bad = [origin for origin in origins if not _ORIGIN.fullmatch(origin)]
        if bad:
            raise ValueError(f"must be origins such as https://ops.example.org, and {bad[0]!r} is none")
        return ",".join(origins)

    @property
    def origins(self) -> tuple[str, ...]:
        """Of other pages that may open sockets and streams."""
        return tuple(filter(None, self.allowed_origins.split(",")))
