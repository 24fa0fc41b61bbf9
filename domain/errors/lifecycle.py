"""Lifecycles and gates."""

from __future__ import annotations

from domain.errors.base import Refusal


class WrongState(Refusal):
    """The lifecycle has no such step from the present state."""

    code, status = "WRONG_STATE", 409


class AgeNotVerified(Refusal):
    """The customer's age could not be verified."""

    code, status, hint = "AGE_NOT_VERIFIED", 422, "Try another document; the number of attempts is limited."


class AgeAttemptsExhausted(Refusal):
    """No attempts at age verification are left for now."""

    code, status = "AGE_ATTEMPTS_EXHAUSTED", 409
    hint = "They are counted by person, on whichever order, for a day."


class AgeCheckUnderWay(Refusal):
    """As many age checks of this person are under way as attempts are left."""

    code, status, hint = "AGE_CHECK_UNDER_WAY", 409, "Wait for their outcome, or try again in a moment."


class PaymentDeclined(Refusal):
    """The payment was declined."""

    code, status = "PAYMENT_DECLINED", 402


class PaymentUnderWay(Refusal):
    """Another payment of this order is under way."""

    code, status, hint = "PAYMENT_UNDER_WAY", 409, "Wait for its outcome, or try again in a moment."


class RefundTooMuch(Refusal):
    """More than is left of the payment."""

    code, status, hint = "REFUND_TOO_MUCH", 409, "GET /v1/orders/{order_id}/refunds says what was given back."


class PeriodOverlaps(Refusal):
    """Another period that touches this one was paid already."""

    code, status, hint = "PERIOD_OVERLAPS", 409, "GET .../payouts says which periods were paid."


class IdCheckInconclusive(Refusal):
    """The ID check gave no clear result, so the gate stays shut."""

    code, status, hint = "ID_CHECK_INCONCLUSIVE", 409, "Repeat the check, or refuse the delivery."


class VendorUnavailable(Refusal):
    """An outside service did not answer in time."""

    code, status, hint = "VENDOR_UNAVAILABLE", 503, "Repeat with the same Idempotency-Key."


class TooFar(Refusal):
    """You are not known to be near where this step belongs."""

    code, status = "TOO_FAR", 409
    hint = "Say where you are with the step, or why it holds all the same (`override`), which operators see."


class OutOfOrder(Refusal):
    """A later action of yours about the same order was carried out before this one."""

    code, status, hint = (
        "OUT_OF_ORDER",
        409,
        "Drop it, and take how things stand from the snapshot or a read.",
    )
