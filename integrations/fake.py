"""What the fake vendors share: scripts named by the vendor token, and references that a repeat gets again."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Annotated

from msgspec import Meta, Struct

from domain.ports import VendorError

PREFIX = "fake:"


class FakeOptions(Struct, frozen=True, kw_only=True):
    """Usually longer silent than any caller waits: the caller's own time-out is what a test wants to see."""

    silence_s: Annotated[
        float, Meta(gt=0, le=86_400, description="seconds until `fake:timeout` fails; up to 86400")
    ] = 3600.0


async def script(vendor_token: str, options: FakeOptions) -> str:
    """The script that the token names. `fake:error` raises `VendorError`, `fake:timeout` never answers in time.

    A token that is not of the form `fake:<script>` raises `VendorError`: what is not known does not pass.
    """
    if not vendor_token.startswith(PREFIX):
        raise VendorError("the fake vendor does not know this token")
    name = vendor_token.removeprefix(PREFIX)
    if name == "error":
        raise VendorError("the fake vendor was told to fail")
    if name == "timeout":
        await asyncio.sleep(options.silence_s)
        raise VendorError("the fake vendor was told not to answer")
    return name


def reference(kind: str, request_id: str) -> str:
    """The vendor's own name for its evidence; the same request gets the same one."""
    digest = hashlib.sha256(f"{kind}:{request_id}".encode()).hexdigest()
    return f"fake_{kind}_{digest[:24]}"
