"""Why somebody did not go on: closed lists, because a reason stands in dossiers, on the bus and on mission control for
good. What people want to say beside it is kept apart, where it can be erased (`order_notes`)."""

from __future__ import annotations

from enum import StrEnum
from typing import TypeVar

from domain.errors import InvalidRequest


class CancelReason(StrEnum):
    """Why an order is called off, by its customer or by an operator."""

    UNSPECIFIED = "UNSPECIFIED"
    CHANGED_MIND = "CHANGED_MIND"
    ORDERED_BY_MISTAKE = "ORDERED_BY_MISTAKE"
    TAKES_TOO_LONG = "TAKES_TOO_LONG"
    WRONG_ADDRESS = "WRONG_ADDRESS"
    AGE_NOT_VERIFIED = "AGE_NOT_VERIFIED"
    PAYMENT_TROUBLE = "PAYMENT_TROUBLE"
    STORE_TROUBLE = "STORE_TROUBLE"
    NO_DRIVER = "NO_DRIVER"
    SUSPECTED_FRAUD = "SUSPECTED_FRAUD"
    OTHER = "OTHER"


class RejectReason(StrEnum):
    """Why a merchant does not take an order."""

    UNSPECIFIED = "UNSPECIFIED"
    OUT_OF_STOCK = "OUT_OF_STOCK"
    TOO_BUSY = "TOO_BUSY"
    CLOSING = "CLOSING"
    SUSPECTED_FRAUD = "SUSPECTED_FRAUD"
    OTHER = "OTHER"


class RefuseReason(StrEnum):
    """Why a driver does not hand the goods over at the door."""

    NOBODY_HOME = "NOBODY_HOME"
    CUSTOMER_DECLINED = "CUSTOMER_DECLINED"
    NO_ID = "NO_ID"
    UNDER_AGE = "UNDER_AGE"
    ID_EXPIRED = "ID_EXPIRED"
    NAME_MISMATCH = "NAME_MISMATCH"
    INTOXICATED = "INTOXICATED"
    ID_CHECK_INCONCLUSIVE = "ID_CHECK_INCONCLUSIVE"
    WRONG_ADDRESS = "WRONG_ADDRESS"
    OUT_OF_TIME = "OUT_OF_TIME"
    GOODS_DAMAGED = "GOODS_DAMAGED"
    UNSAFE = "UNSAFE"
    OTHER = "OTHER"


class DeclineReason(StrEnum):
    """Why a driver does not want an offer."""

    NOT_NOW = "NOT_NOW"
    TOO_FAR = "TOO_FAR"
    TOO_LONG = "TOO_LONG"
    ENDING_SHIFT = "ENDING_SHIFT"
    VEHICLE_TROUBLE = "VEHICLE_TROUBLE"
    UNSAFE = "UNSAFE"
    OTHER = "OTHER"


class DispatchReason(StrEnum):
    """Why an operator gives a task to a driver, or takes it from one."""

    NO_DRIVER = "NO_DRIVER"
    DRIVER_ASKED = "DRIVER_ASKED"
    DRIVER_DELAYED = "DRIVER_DELAYED"
    DRIVER_UNREACHABLE = "DRIVER_UNREACHABLE"
    VEHICLE_TROUBLE = "VEHICLE_TROUBLE"
    CUSTOMER_ASKED = "CUSTOMER_ASKED"
    STORE_ASKED = "STORE_ASKED"
    BETTER_FIT = "BETTER_FIT"
    OTHER = "OTHER"


class OverrideReason(StrEnum):
    """Why a step holds though its driver is not known to be near: operators see it, and count it."""

    GPS_WRONG = "GPS_WRONG"
    PIN_WRONG = "PIN_WRONG"
    NO_SIGNAL = "NO_SIGNAL"
    OTHER = "OTHER"


class Resolution(StrEnum):
    """What became of goods that were picked up and got neither to their door nor back by their driver."""

    RETURNED_BY_OTHER = "RETURNED_BY_OTHER"
    LOST = "LOST"
    BROKEN = "BROKEN"


R = TypeVar("R", bound=StrEnum)


def known(kind: type[R], reason: str) -> R:
    """The reason as one of its list; `InvalidRequest` for free text."""
    try:
        return kind(reason)
    except ValueError:
        raise InvalidRequest("The reason is none of the list.") from None
