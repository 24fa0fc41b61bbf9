"""The class of the gateway actor, which every process imports that calls a gateway."""

from __future__ import annotations

import subprocess
import sys


def test_looking_a_gateway_up_imports_no_web_server() -> None:
    script = "import sys, gateway.actor; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    imported = {name.partition(".")[0] for name in done.stdout.split()}
    assert "ray" in imported
    assert not imported & {"fastapi", "uvicorn", "sqlalchemy", "asyncpg"}
