"""What `make` leaves behind."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest


@pytest.mark.parametrize("name", ["ray", "sqlalchemy"])
def test_what_is_installed_is_compiled(name: str) -> None:
    """Otherwise each process of a server compiles everything anew where it may not write."""
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.cached is not None
    assert Path(spec.cached).exists()
