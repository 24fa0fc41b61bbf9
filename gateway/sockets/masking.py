"""A client's bytes are masked (RFC 6455, section 5.3): each by one of four in turn."""

from __future__ import annotations

from collections.abc import Callable


def unmasked(data: bytes, mask: bytes) -> bytes:
    """The bytes as they were meant. For where the library's own, eight times as fast, is not to be had."""
    size = len(data)
    over = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(data, "big") ^ int.from_bytes(over, "big")).to_bytes(size, "big")


def quickest() -> Callable[[bytes, bytes], bytes]:
    """The library's where there is a wheel with it: it is none of its public parts (docs/adr/0020-private-parts.md)."""
    try:
        from websockets.speedups import apply_mask
    except ImportError:
        return unmasked
    return apply_mask


unmask = quickest()
