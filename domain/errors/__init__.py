"""The error catalogue: every refusal a client can see, with its stable code, HTTP status and hint.

A class docstring is its message. REST turns a `Refusal` into RFC 9457 problem details, the driver socket into an
`error` frame; both carry `code`. `docs/errors.md` is generated from this module.
"""

from __future__ import annotations

from domain.errors.access import (
    AccountDisabled,
    EmailTaken,
    Forbidden,
    NotTaskHolder,
    Unauthenticated,
    WeakPassword,
)
from domain.errors.base import CATALOGUE, Refusal, refusal
from domain.errors.lifecycle import (
    AgeAttemptsExhausted,
    AgeCheckUnderWay,
    AgeNotVerified,
    IdCheckInconclusive,
    OutOfOrder,
    PaymentDeclined,
    PaymentUnderWay,
    RefundTooMuch,
    TooFar,
    VendorUnavailable,
    WrongState,
)
from domain.errors.offers import DriverUnavailable, ExplanationExpired, OfferExpired, OfferTaken
from domain.errors.parties import AlreadyEmployed, LastOwner, MerchantNotApproved
from domain.errors.requests import (
    AddressNotDeliverable,
    HeadTooLarge,
    IdempotencyKeyRequired,
    IdempotencyKeyReused,
    InvalidRequest,
    LimitReached,
    MalformedRequest,
    MethodNotAllowed,
    NotFound,
    OutsideServiceArea,
    PayloadTooLarge,
    RateLimited,
    RequestTimeout,
    StoreClosed,
    TooLateToday,
    UnsupportedMediaType,
    UriTooLong,
    VersionMismatch,
    VersionRequired,
)
from domain.errors.server import (
    InternalConflict,
    InternalError,
    Overloaded,
    RegionUnavailable,
    StoreBusy,
    StoreUnavailable,
)
from domain.errors.socket import BadFrame

__all__ = [
    "CATALOGUE",
    "AccountDisabled",
    "AddressNotDeliverable",
    "AgeAttemptsExhausted",
    "AgeCheckUnderWay",
    "AgeNotVerified",
    "AlreadyEmployed",
    "BadFrame",
    "DriverUnavailable",
    "EmailTaken",
    "ExplanationExpired",
    "Forbidden",
    "HeadTooLarge",
    "IdCheckInconclusive",
    "IdempotencyKeyRequired",
    "IdempotencyKeyReused",
    "InternalConflict",
    "InternalError",
    "InvalidRequest",
    "LastOwner",
    "LimitReached",
    "MalformedRequest",
    "MerchantNotApproved",
    "MethodNotAllowed",
    "NotFound",
    "NotTaskHolder",
    "OfferExpired",
    "OfferTaken",
    "OutOfOrder",
    "OutsideServiceArea",
    "Overloaded",
    "PayloadTooLarge",
    "PaymentDeclined",
    "PaymentUnderWay",
    "RateLimited",
    "RefundTooMuch",
    "Refusal",
    "RegionUnavailable",
    "RequestTimeout",
    "StoreBusy",
    "StoreClosed",
    "StoreUnavailable",
    "TooFar",
    "TooLateToday",
    "Unauthenticated",
    "UnsupportedMediaType",
    "UriTooLong",
    "VendorUnavailable",
    "VersionMismatch",
    "VersionRequired",
    "WeakPassword",
    "WrongState",
    "refusal",
]
