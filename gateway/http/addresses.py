"""Whose an address is."""

from __future__ import annotations

import ipaddress

ADDRESS_LIMIT = 64  # characters of a forwarded address that is none


def customer_of(address: str) -> str:
    """Who has this address: an IPv4 address stands for itself, an IPv6 address for its /64, which is what one customer
    has."""
    if ":" not in address:
        return address[:ADDRESS_LIMIT]
    try:
        parsed = ipaddress.IPv6Address(address)
    except ValueError:
        return address[:ADDRESS_LIMIT]
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((parsed, 64), strict=False))
