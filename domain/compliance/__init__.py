"""Rulebooks by jurisdiction. Another state is one file here and one line in the registry."""

from __future__ import annotations

from domain.compliance import texas
from domain.compliance.rulebook import Rulebook

RULEBOOKS: dict[str, Rulebook] = {
    texas.RULEBOOK.jurisdiction: texas.RULEBOOK,
}
