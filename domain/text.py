"""Text that people type, in one form: what looks the same is the same, and what cannot be seen is nothing."""

from __future__ import annotations

import re
import unicodedata

# Letters by their category that are blank all the same: fillers of Hangul.
_BLANK_LETTERS = frozenset("\u115f\u1160\u3164\uffa0")
# Within words they choose between forms of letters (Persian, Indic scripts, emoji); at an end they are nothing.
_JOINERS = frozenset("\u200c\u200d")
_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")


def tidy(text: str) -> str:
    """In NFC, with single blanks and no format characters. `ValueError` for control characters and half characters."""
    if text.isascii() and text.isprintable():  # most text: there is nothing to it but its blanks
        return " ".join(text.split())
    kept = []
    for char in text:
        category = unicodedata.category(char)
        if char in "\t\n\r" or category in ("Zs", "Zl", "Zp"):
            kept.append(" ")
        elif category in ("Cc", "Cs"):
            raise ValueError("must not contain control characters")
        elif category != "Cf" or char in _JOINERS:
            kept.append(char)
    words = ("".join(kept)).split(" ")
    return unicodedata.normalize(
        "NFC", " ".join(filter(None, (word.strip("\u200c\u200d") for word in words)))
    )


def legible(text: str) -> str:
    """The same; `ValueError` also where nothing in it can be read: no letter and no digit."""
    tidied = tidy(text)
    if not any(unicodedata.category(char)[0] in "LN" and char not in _BLANK_LETTERS for char in tidied):
        raise ValueError("must contain a letter or a digit")
    return tidied


def decimal(text: str) -> float:
    """A number as JSON writes it: ASCII digits, no blanks, no underscores, no words. `ValueError` for anything else."""
    if _DECIMAL.fullmatch(text) is None:
        raise ValueError("is not a number in decimal digits")
    return float(text)
