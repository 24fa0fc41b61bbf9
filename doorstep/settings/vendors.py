"""Who checks and who pays."""

from __future__ import annotations

from pydantic import Field, ValidationInfo, field_validator

from doorstep.settings.base import LIMITS, Area, configured


class Vendors(Area):
    """Vendors."""

    identity_vendor: str = Field(
        configured("identity_vendor"), description="who checks ages and IDs: fake, which production refuses"
    )
    payment_vendor: str = Field(
        configured("payment_vendor"), description="who holds and takes money: fake, which production refuses"
    )
    allow_fake_vendors: bool = Field(False, description="let production run with the fake vendors")
    vendor_timeout_s: float = Field(
        LIMITS.vendor_timeout_s, gt=0, le=60, description="seconds to wait for a vendor; up to 60"
    )

    @field_validator("identity_vendor", "payment_vendor")
    @classmethod
    def _known_vendor(cls, value: str, info: ValidationInfo) -> str:
        from integrations.registry import IDENTITY, PAYMENT  # slow to load

        known = sorted(IDENTITY if info.field_name == "identity_vendor" else PAYMENT)
        if value not in known:
            raise ValueError(f"must be one of: {', '.join(known)}")
        return value
