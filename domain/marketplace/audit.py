"""Which fields an operator's change touched, for the log of what operators did: the log cannot be erased, so nothing
personal stands in it."""

from __future__ import annotations

import hashlib
import hmac
from enum import StrEnum
from typing import Any

import msgspec
from msgspec import Struct

# Values of these types say nothing about a person: codes of closed lists, amounts, times, yes and no.
_PLAIN = (StrEnum, bool, int, type(None))
COMMITTED = "hmac-sha256:"


def commitment(salt: bytes, field: str, value: Any) -> str:
    """What proves later which value it was, to who has the value and the salt, and tells nobody else anything. The salt
    is a record's own and goes with it: then the commitments say nothing to anybody."""
    told = field.encode() + b"\0" + msgspec.json.encode(value, order="deterministic")
    return COMMITTED + hmac.new(salt, told, hashlib.sha256).hexdigest()


def changes_of(before: Struct | None, after: Struct | None, salt: bytes) -> dict[str, list[Any]]:
    """Each field that differs, with what it was and what it is: in clear where the type is one of `_PLAIN`, else as a
    commitment. Nothing for a record that comes into being or goes: its action says all."""
    if before is None or after is None or type(before) is not type(after):
        return {}

    def shown(field: str, value: Any) -> Any:
        return value if isinstance(value, _PLAIN) else commitment(salt, field, value)

    return {
        field: [shown(field, getattr(before, field)), shown(field, getattr(after, field))]
        for field in before.__struct_fields__
        if field != "version" and getattr(before, field) != getattr(after, field)
    }
