"""The request itself."""

from __future__ import annotations

from domain.errors.base import Refusal


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


class IdempotencyKeyRequired(Refusal):
    """This needs an Idempotency-Key."""

    code, status, hint = "IDEMPOTENCY_KEY_REQUIRED", 400, "Send a new key with each new request."


class VersionRequired(Refusal):
    """This needs the version that you have seen, in If-Match."""

    code, status, hint = (
        "VERSION_REQUIRED",
        428,
        "Read it first: its ETag is its version. `*` lets any through.",
    )


class VersionMismatch(Refusal):
    """What you want to change has changed since you read it."""

    code, status, hint = "VERSION_MISMATCH", 412, "Read it again and repeat with the new version in If-Match."


class LimitReached(Refusal):
    """There are as many of these as may be kept."""

    code, status, hint = "LIMIT_REACHED", 409, "Erase or end one first."


class OutsideServiceArea(Refusal):
    """The place is not inside a market that is served."""

    code, status = "OUTSIDE_SERVICE_AREA", 422


class AddressNotDeliverable(Refusal):
    """This is not an address that can be delivered to."""

    code, status = "ADDRESS_NOT_DELIVERABLE", 422


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
