"""What all vendors share."""

from __future__ import annotations


class VendorError(Exception):
    """The vendor failed or did not answer in time."""
