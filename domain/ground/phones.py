"""Telephone numbers as E.164 writes them."""

from __future__ import annotations

import re

PHONE_LIMIT = 16  # the plus sign and fifteen digits
_E_164 = re.compile(r"\+[1-9][0-9]{6,14}")
# The North American plan: area code and exchange begin with 2 to 9, neither is a service code (N11), and no area code
# has 9 in the middle (kept for longer numbers).
_NANP = re.compile(r"\+1(?![2-9]11|[2-9]9)[2-9][0-9]{2}(?![2-9]11)[2-9][0-9]{6}")


def phone_of(text: str) -> str:
    """The number if it is one; `ValueError` where it is not. Whether somebody answers there is not known."""
    if _E_164.fullmatch(text) is None:
        raise ValueError("is not a telephone number as E.164 writes it, such as +12145550100")
    if text.startswith("+1") and _NANP.fullmatch(text) is None:
        raise ValueError("is not a number of the North American plan")
    return text
