"""The vendors by name, as settings spell them. Another vendor is one file and one line here."""

from __future__ import annotations

from collections.abc import Callable

from domain.ports import IdentityVendor, PaymentVendor
from integrations.identity.fake import FakeIdentity
from integrations.payment.fake import FakePayment

IDENTITY: dict[str, Callable[[], IdentityVendor]] = {
    "fake": FakeIdentity,
}

PAYMENT: dict[str, Callable[[], PaymentVendor]] = {
    "fake": FakePayment,
}
