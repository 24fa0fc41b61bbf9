"""Offers."""

from __future__ import annotations

from domain.errors.base import Refusal


class OfferTaken(Refusal):
    """The offer has been taken, or was made to somebody else."""

    code, status = "OFFER_TAKEN", 409


class OfferExpired(Refusal):
    """The offer is no longer open."""

    code, status = "OFFER_EXPIRED", 409


class DriverUnavailable(Refusal):
    """The driver cannot be given this task now."""

    code, status = "DRIVER_UNAVAILABLE", 409
    hint = "The detail says why; another driver may do."


class ExplanationExpired(Refusal):
    """It is no longer kept, or was not kept, why this offer was made."""

    code, status, hint = "EXPLANATION_EXPIRED", 410, "EXPLAIN_KEEP_S says how long it can be asked."
