"""Addresses in the United States, as far as they can be judged without asking anybody: the ZIP codes of the states that
are served, and what is no door."""

from __future__ import annotations

import re
from collections.abc import Mapping

ZIP = re.compile(r"[0-9]{5}(?:-[0-9]{4})?")
# The first three digits (USPS sectional centres) by state; both ends belong. A state that is served has a line.
ZIP_PREFIXES: Mapping[str, tuple[tuple[int, int], ...]] = {"TX": ((733, 733), (750, 799), (885, 885))}
_BOX = re.compile(r"\b(?:P(?:OST)?\.?\s*O(?:FFICE)?\.?\s*(?:BOX|DRAWER)|P\.?M\.?B\.?\s*#?\s*[0-9])", re.I)


def is_zip_of(state: str, code: str) -> bool:
    """Whether the ZIP code is one of that state; of a state that is not known none is."""
    if ZIP.fullmatch(code) is None:
        return False
    return any(low <= int(code[:3]) <= high for low, high in ZIP_PREFIXES.get(state, ()))


def is_box(line: str) -> bool:
    """Whether the line names a box at a post office or a mailbox shop: nobody opens a door there and shows an ID."""
    return _BOX.search(line) is not None
