"""The error catalogue: every refusal a client can see, with its stable code, HTTP status and hint.

A class docstring is its message. REST turns a `Refusal` into RFC 9457 problem details, the driver socket into an
`error` frame; both carry `code`. `docs/errors.md` is generated from this module.
"""

from __future__ import annotations

from typing import ClassVar

CATALOGUE: dict[str, type[Refusal]] = {}


class Refusal(Exception):
    """The request was refused."""

    code: ClassVar[str] = ""
    status: ClassVar[int] = 400
    hint: ClassVar[str] = ""

    def __init__(self, detail: str = "", *, retry_after_s: int | None = None) -> None:
        self.title = (type(self).__doc__ or "").strip()
        self.detail = detail or self.title
        self.retry_after_s = retry_after_s
        super().__init__(self.detail)

    def __init_subclass__(cls) -> None:
        if not all(issubclass(base, Refusal) for base in cls.__bases__):
            return  # Ray mixes a refusal with an exception of its own to carry it from actor to caller
        if not cls.code or cls.code in CATALOGUE:
            raise TypeError(f"{cls.__name__} needs a code of its own")
        CATALOGUE[cls.code] = cls

    def __reduce__(self) -> tuple[object, ...]:
        return refusal, (self.code, self.detail, self.retry_after_s)


def refusal(code: str, detail: str = "", retry_after_s: int | None = None) -> Refusal:
    """The refusal with this catalogue code; `KeyError` for a code that is not in the catalogue."""
    return CATALOGUE[code](detail, retry_after_s=retry_after_s)


# -- who is asking ----------------------------------------------------------------------------------------------------


class Unauthenticated(Refusal):
    """A valid access token is needed."""

    code, status, hint = "UNAUTHENTICATED", 401, "Get a token from POST /v1/auth/token."


class WeakPassword(Refusal):
    """The password would soon be guessed."""

    code, status = "WEAK_PASSWORD", 422
    hint = "Take a longer one: a few words that have nothing to do with your name and address."


class AccountDisabled(Refusal):
    """The account is disabled."""

    code, status, hint = "ACCOUNT_DISABLED", 403, "An operator can say why, and enable it again."


class Forbidden(Refusal):
    """Your role may not do this."""

    code, status, hint = "FORBIDDEN", 403, "The lifecycle table names the role that each step belongs to."


class NotTaskHolder(Refusal):
    """Only the driver who holds the task may do this."""

    code, status = "NOT_TASK_HOLDER", 403
    hint = "Between a region and its gateways only: clients are told NOT_FOUND."


class EmailTaken(Refusal):
    """An account with this e-mail address exists already."""

    code, status = "EMAIL_TAKEN", 409


# -- the request itself -----------------------------------------------------------------------------------------------


class InvalidRequest(Refusal):
    """The request does not have the documented form."""

    code, status = "INVALID_REQUEST", 422


class NotFound(Refusal):
    """There is no such thing, or it is not yours."""

    code, status = "NOT_FOUND", 404


class MethodNotAllowed(Refusal):
    """This path does not take this method."""

    code, status = "METHOD_NOT_ALLOWED", 405


class IdempotencyKeyReused(Refusal):
    """This Idempotency-Key was used with another request."""

    code, status, hint = "IDEMPOTENCY_KEY_REUSED", 422, "Use a new key for a new request."


class VersionMismatch(Refusal):
    """What you want to change has changed since you read it."""

    code, status, hint = "VERSION_MISMATCH", 412, "Read it again and repeat with the new version in If-Match."


class OutsideServiceArea(Refusal):
    """The place is not inside a market that is served."""

    code, status = "OUTSIDE_SERVICE_AREA", 422


class StoreClosed(Refusal):
    """The store is closed."""

    code, status, hint = "STORE_CLOSED", 409, "GET /v1/stores/{id}/hours says when it opens."


class TooLateToday(Refusal):
    """The store closes before goods that are refused at the door could be back."""

    code, status, hint = "TOO_LATE_TODAY", 409, "Order earlier in the day, or from a store that is nearer."


class RateLimited(Refusal):
    """You ask too often."""

    code, status, hint = "RATE_LIMITED", 429, "Repeat with the same Idempotency-Key after Retry-After."


class PayloadTooLarge(Refusal):
    """The request or frame is larger than the limit."""

    code, status = "PAYLOAD_TOO_LARGE", 413


class MalformedRequest(Refusal):
    """This is not HTTP as RFC 9112 has it, or can be read in more than one way."""

    code, status = "MALFORMED_REQUEST", 400


class UnsupportedMediaType(Refusal):
    """The body is not of a kind, or not in an encoding, that is read here."""

    code, status = "UNSUPPORTED_MEDIA_TYPE", 415
    hint = "Send application/json in UTF-8, uncompressed; a form where one signs in."


class RequestTimeout(Refusal):
    """The rest of the request did not come in time."""

    code, status, hint = "REQUEST_TIMEOUT", 408, "Repeat with the same Idempotency-Key."


class UriTooLong(Refusal):
    """The address is longer than the limit."""

    code, status = "URI_TOO_LONG", 414


class HeadTooLarge(Refusal):
    """The headers are larger or more than the limit."""

    code, status = "HEAD_TOO_LARGE", 431


# -- lifecycles and gates ---------------------------------------------------------------------------------------------


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


class IdCheckInconclusive(Refusal):
    """The ID check gave no clear result, so the gate stays shut."""

    code, status, hint = "ID_CHECK_INCONCLUSIVE", 409, "Repeat the check, or refuse the delivery."


class VendorUnavailable(Refusal):
    """An outside service did not answer in time."""

    code, status, hint = "VENDOR_UNAVAILABLE", 503, "Repeat with the same Idempotency-Key."


class OutOfOrder(Refusal):
    """A later action of yours about the same order was carried out before this one."""

    code, status, hint = (
        "OUT_OF_ORDER",
        409,
        "Drop it, and take how things stand from the snapshot or a read.",
    )


# -- offers -----------------------------------------------------------------------------------------------------------


class OfferTaken(Refusal):
    """The offer has been taken, or was made to somebody else."""

    code, status = "OFFER_TAKEN", 409


class OfferExpired(Refusal):
    """The offer is no longer open."""

    code, status = "OFFER_EXPIRED", 409


class ExplanationExpired(Refusal):
    """It is no longer kept, or was not kept, why this offer was made."""

    code, status, hint = "EXPLANATION_EXPIRED", 410, "EXPLAIN_KEEP_S says how long it can be asked."


# -- the server's condition -------------------------------------------------------------------------------------------


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


# -- the driver socket ------------------------------------------------------------------------------------------------


class BadFrame(Refusal):
    """The frame is not valid JSON of a known message."""

    code, status, hint = "BAD_FRAME", 400, "See docs/protocol.md; three bad frames in a row close the socket."
