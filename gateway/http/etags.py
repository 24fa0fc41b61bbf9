"""Versions as entity tags (RFC 9110, 8.8.3 and 13.1)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from domain.errors import InvalidRequest

_TAG = re.compile(r'[ \t]*(W/)?("[\x21\x23-\x7e\x80-\xff]*")[ \t]*(?:,|\Z)')
_EMPTY = re.compile(r"[ \t]*(?:,|\Z)")
_VERSION = re.compile(r'"(0|[1-9][0-9]{0,17})"')


def tags(lines: Sequence[str]) -> list[tuple[bool, str]] | None:
    """The tags of all lines of a header, each with whether it is weak; None for `*`. `ValueError` for anything else."""
    text = ",".join(lines)
    if text.strip(" \t") == "*":
        return None
    found, at = [], 0
    while at < len(text):
        match = _TAG.match(text, at)
        if match is not None:
            found.append((match[1] is not None, match[2]))
        elif (match := _EMPTY.match(text, at)) is None:
            raise ValueError(text)
        at = match.end()
    if not found:
        raise ValueError(text)
    return found


def versions(lines: Sequence[str]) -> tuple[int, ...] | None:
    """The versions that an If-Match lets through, by strong comparison: a weak tag lets none through, nor does one that
    is no version of ours. None: any. `InvalidRequest` for what is no list of tags."""
    if not lines:
        return None
    try:
        found = tags(lines)
    except ValueError:
        raise InvalidRequest('If-Match holds entity tags, as the ETag of a read ("3"), or `*`.') from None
    if found is None:
        return None
    matches = (_VERSION.fullmatch(tag) for is_weak, tag in found if not is_weak)
    return tuple(int(match[1]) for match in matches if match is not None)


def is_known(etag: str, lines: Sequence[str]) -> bool:
    """Whether an If-None-Match names this tag, by weak comparison. What is no list of tags names none."""
    try:
        found = tags(lines) if lines else []
    except ValueError:
        return False
    return found is None or etag.removeprefix("W/") in [tag for _, tag in found]
