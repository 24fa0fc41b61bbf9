"""The condition of the server."""

from __future__ import annotations

from domain.errors.base import Refusal


class RegionUnavailable(Refusal):
    """The region is not serving at the moment."""

    code, status, hint = "REGION_UNAVAILABLE", 503, "Repeat with the same Idempotency-Key."


class StoreUnavailable(Refusal):
    """The order store is not serving at the moment."""

    code, status, hint = (
        "STORE_UNAVAILABLE",
        503,
        "Repeat after Retry-After, a change with the same Idempotency-Key.",
    )


class StoreBusy(Refusal):
    """Somebody is working on this very row of the store; nothing was done."""

    code, status, hint = "STORE_BUSY", 503, "Repeat with the same Idempotency-Key after Retry-After."


class Overloaded(Refusal):
    """Too much work is waiting."""

    code, status, hint = "OVERLOADED", 503, "Repeat with the same Idempotency-Key after Retry-After."


class InternalConflict(Refusal):
    """The database refused this change; nothing was done and the operators were told."""

    code, status = "INTERNAL_CONFLICT", 500
    hint = "A repeat under the same key gets the same answer; try again under a new one."


class InternalError(Refusal):
    """Something went wrong on our side; nothing is known to have changed."""

    code, status = "INTERNAL_ERROR", 500
