"""Which vendors are asked, and what each is told."""

from __future__ import annotations

from typing import Any, Self

import msgspec
from pydantic import Field, SecretStr, ValidationInfo, field_validator, model_validator

from doorstep.settings.base import LIMITS, Area, configured

_OPTIONS = (
    "JSON object of that vendor's options (docs/vendors.md), such as its key; empty leaves their defaults"
)


class Vendors(Area):
    """Vendors (docs/vendors.md)."""

    identity_vendor: str = Field(
        configured("identity_vendor"), description="who checks ages and IDs: fake, which production refuses"
    )
    identity_options: SecretStr | None = Field(None, description=_OPTIONS)
    payment_vendor: str = Field(
        configured("payment_vendor"), description="who holds and takes money: fake, which production refuses"
    )
    payment_options: SecretStr | None = Field(None, description=_OPTIONS)
    event_bus_vendor: str = Field(
        configured("event_bus_vendor"),
        description="where events are published for the outside: redis_streams",
    )
    event_bus_options: SecretStr | None = Field(None, description=_OPTIONS)
    allow_fake_vendors: bool = Field(False, description="let production run with the fake vendors")
    vendor_timeout_s: float = Field(
        LIMITS.vendor_timeout_s, gt=0, le=60, description="seconds to wait for a vendor; up to 60"
    )

    @field_validator("identity_vendor", "payment_vendor", "event_bus_vendor")
    @classmethod
    def _known_vendor(cls, value: str, info: ValidationInfo) -> str:
        from integrations.registry import PORTS  # slow to load

        known = sorted(PORTS[str(info.field_name).removesuffix("_vendor")])
        if value not in known:
            raise ValueError(f"must be one of: {', '.join(known)}")
        return value

    @model_validator(mode="after")
    def _options_are_the_vendor_s(self) -> Self:
        from integrations.registry import PORTS

        problems = []
        for port, vendors in PORTS.items():
            try:
                vendors[getattr(self, f"{port}_vendor")].read(self.options_of(port))
            except ValueError as error:
                problems.append(f"{port.upper()}_OPTIONS: {error}")
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def options_of(self, port: str) -> dict[str, Any]:
        """What the port's vendor is told. `ValueError` when that is no JSON object."""
        given: SecretStr | None = getattr(self, f"{port}_options")
        if given is None:
            return {}
        try:
            return msgspec.json.decode(given.get_secret_value(), type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            raise ValueError("must be a JSON object") from None
