"""E-mail addresses and passwords as text: one form of each, whatever keyboard it came from.

An address is as `email-validator` normalises it (RFC 5321, 5322, 6531; the domain by IDNA), in lower case. A password
is in Unicode's form NFC, as RFC 8265 wants it (OpaqueString); what cannot be seen is refused in both.
"""

from __future__ import annotations

import unicodedata
from threading import Lock

from email_validator import EmailNotValidError, validate_email
from zxcvbn import zxcvbn

PASSWORD_MIN, PASSWORD_MAX = 8, 256  # characters, after normalisation
# What a guesser who tries common passwords, words, names, dates and keyboard rows first needs (zxcvbn); with the rate
# limits of signing in that takes years. "Password1!" takes 20,000, "letmein123" as many, "correct horse" 10^8.
GUESSES_MIN = 100_000
GUESSED_CHARACTERS = 72  # that are looked at: the time goes with the square
_SPACES = {"Zs"}
# Controls, formats (zero width, direction), surrogates, private use, unassigned, line and paragraph separators.
_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
# Letters and marks by category that leave nothing on the screen.
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
_guessing = Lock()  # the library keeps the words of one call in a global


def email_of(text: str) -> str:
    """The one form of an address. `ValueError` for what is none."""
    try:
        valid = validate_email(text.strip(), check_deliverability=False, strict=True)
    except EmailNotValidError:
        raise ValueError("is not an e-mail address") from None
    return unicodedata.normalize("NFC", valid.normalized.lower())


def email_key(text: str) -> str:
    """The form under which to look for an account's address; of what is none, something that finds nothing."""
    try:
        return email_of(text)
    except ValueError:
        return unicodedata.normalize("NFC", text.strip().lower())


def is_storable(text: str) -> bool:
    """Whether the database could hold such a text."""
    return "\x00" not in text and not any("\ud800" <= c <= "\udfff" for c in text)


def password_of(text: str) -> str:
    """The one form of a password. `ValueError` for a length out of bounds and for what cannot be seen."""
    password = "".join(
        " " if unicodedata.category(c) in _SPACES else c for c in unicodedata.normalize("NFC", text)
    )
    if any(unicodedata.category(c) in _UNSEEN or c in _BLANK for c in password):
        raise ValueError("has a character that cannot be seen")
    if not PASSWORD_MIN <= len(password) <= PASSWORD_MAX:
        raise ValueError(f"has from {PASSWORD_MIN} to {PASSWORD_MAX} characters")
    return password


def is_guessable(password: str, email: str, name: str = "") -> bool:
    """Whether somebody who knows the address and the name would soon find the password. Takes up to 50 ms."""
    local, _, host = email.partition("@")
    own = [email, local, host, *host.split("."), name, *name.split(), "doorstep"]
    with _guessing:
        return int(zxcvbn(password[:GUESSED_CHARACTERS], user_inputs=own)["guesses"]) < GUESSES_MIN
