"""The region does what the transcripts tell. After a wanted change: `python -m tests.scenarios --update`, and read
the difference before it is committed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scenarios.transcript import Transcript

FILES = sorted(Path(__file__).parent.glob("*.txt"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.stem))
def test_transcript(file: Path) -> None:
    told = file.read_text()
    assert Transcript().run(told) == told
