"""The README's order by hand, line by line as it stands there, on a running server."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.live import LiveServer

pytestmark = [pytest.mark.integration, pytest.mark.cluster]

README = Path(__file__).resolve().parents[3] / "README.md"


def test_an_order_by_hand_is_as_the_readme_says(server: LiveServer) -> None:
    [lines] = re.findall(r"## An order, by hand\n.*?```bash\n(.*?)```", README.read_text(), re.S)
    script = lines.replace("http://localhost:8000", server.url)
    script = script.replace(".venv/bin/doorstep", f"'{sys.executable}' -m doorstep")
    environment = server._environment | {"DATA_DIR": str(server.folder)}
    run = subprocess.run(
        ["bash", "-u", "-c", script], env=environment, capture_output=True, text=True, timeout=120
    )
    said = run.stdout + run.stderr
    assert run.returncode == 0, said
    codes = re.findall(r'"code":"([A-Z_]+)"', run.stdout)
    assert codes == ["WRONG_STATE"], said
    assert '"status":"DELIVERED"' in run.stdout, said
    assert '"ok":true' in run.stdout.replace(" ", ""), said
    assert "The ledger balances and agrees with orders." in run.stderr, said
