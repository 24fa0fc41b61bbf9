"""Recording is asked for at the start, and what cannot work is refused there."""

from __future__ import annotations

from pathlib import Path

import pytest

from doorstep.server import StartError, running
from doorstep.settings.settings import SettingsError, load_settings
from tests.integration.live import free_port


def test_a_log_has_room_for_two_segments() -> None:
    with pytest.raises(SettingsError, match="RECORD_TOTAL_MB must be at least twice RECORD_SEGMENT_MB"):
        load_settings(record_segment_mb=100, record_total_mb=199)
    assert load_settings(record_segment_mb=100, record_total_mb=200).record_dir is None


async def test_a_folder_that_cannot_be_written_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    said: list[str] = []
    settings = load_settings(data_dir=tmp_path, record_dir=tmp_path / "file" / "logs", port=free_port())
    with pytest.raises(StartError, match=r"Nothing can be recorded in .*Give another folder with --record"):
        async with running(settings, said.append):
            pass
    assert said == []
