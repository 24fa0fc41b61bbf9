"""The vendors that settings name, for actors and for the gateway (which knows no integrations)."""

from __future__ import annotations

from actors.config import Config
from domain.ports import IdentityVendor, PaymentVendor
from integrations.registry import IDENTITY, PAYMENT


def identity_vendor(config: Config) -> IdentityVendor:
    """`KeyError` for a name that is not in the registry."""
    return IDENTITY[config.identity_vendor]()


def payment_vendor(config: Config) -> PaymentVendor:
    """`KeyError` for a name that is not in the registry."""
    return PAYMENT[config.payment_vendor]()
