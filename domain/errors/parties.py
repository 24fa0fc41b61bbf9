"""Businesses and people who take part."""

from __future__ import annotations

from domain.errors.base import Refusal


class MerchantNotApproved(Refusal):
    """The merchant does not sell: it is not approved, or was suspended."""

    code, status, hint = "MERCHANT_NOT_APPROVED", 409, "GET /v1/merchants/{id} says how its review stands."


class StorePaused(Refusal):
    """The store is too busy for new orders."""

    code, status, hint = "STORE_PAUSED", 409, "GET /v1/stores/{id} says until when."


class OutsideDeliveryArea(Refusal):
    """The store does not deliver to this place."""

    code, status = "OUTSIDE_DELIVERY_AREA", 422


class AlreadyEmployed(Refusal):
    """This account works for a merchant already."""

    code, status, hint = "ALREADY_EMPLOYED", 409, "An account works for one merchant: use another one."


class LastOwner(Refusal):
    """A merchant keeps an owner."""

    code, status, hint = "LAST_OWNER", 409, "Make somebody else an owner first."
