"""Requests made from the server's own OpenAPI, good ones and bad ones, by Schemathesis: whatever is sent, the answer is
one that its operation documents, by its schema, and no failure. `make fuzz-api` makes 300 of each kind an operation."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from domain.orders.lifecycle import Role
from gateway.http.policy import Door
from tests.rest.matrix import SHOWN, STREAMS, Cast, cast
from tests.support.database import server_url
from tests.unit.gateway.http.listener.listening import listening

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "2"))
PHASES = os.environ.get("FUZZ_PHASES", "examples,coverage,fuzzing,stateful")
RUN_LIMIT_S = 60.0 + 30.0 * EXAMPLES
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(6 * RUN_LIMIT_S)]


async def test_whatever_is_asked_is_answered_as_documented(fresh_database_url: str, tmp_path: Path) -> None:
    async with cast(server_url(fresh_database_url)) as made, listening(made.world) as port:
        failed = []
        for number, (headers, names) in enumerate(_groups(made)):
            output = tmp_path / f"{number}.txt"
            status = await _run(port, made.ids, headers, names, output)
            said = output.read_text()
            print(f"{len(names)} operations:", *re.findall(r"[\d,]+ generated.*", said))
            if status:
                failed.append(said)
    assert not failed, "\n".join(failed)


def _groups(made: Cast) -> list[tuple[dict[str, str], list[str]]]:
    """Operations by who may call them, as the headers that say so. What takes access away comes last."""
    groups: dict[str, list[str]] = defaultdict(list)
    for route in SHOWN:
        if route.name not in STREAMS and route.policy.roles not in (Door.INTERNAL, Door.METRICS):
            groups[json.dumps(made.of(route))].append(route.name)
    admin = json.dumps(made.owners[Role.ADMIN])
    return [(json.loads(key), groups[key]) for key in sorted(groups, key=lambda key: key == admin)]


async def _run(
    port: int, ids: dict[str, str], headers: dict[str, str], names: list[str], output: Path
) -> int:
    """Let Schemathesis ask these operations; its exit status."""
    url = f"http://127.0.0.1:{port}/openapi.json"
    line = [str(Path(sys.executable).with_name("st")), "run", url, "--no-color", "--max-failures", "20"]
    line += ["--phases", PHASES]
    line += ["--checks", ",".join(CHECKS), "--max-examples", str(EXAMPLES), "--continue-on-failure"]
    line += ["--generation-deterministic", "--warnings", "off"]
    line += ["--suppress-health-check", "all", "--request-timeout", "20"]
    for name in names:
        line += ["--include-operation-id", name]
    for name, value in headers.items():
        line += ["--header", f"{name}: {value}"]
    hooks = {"SCHEMATHESIS_HOOKS": "tests.rest.fuzz_hooks", "FUZZ_IDS": json.dumps(ids)}
    with output.open("wb") as out:
        run = await asyncio.create_subprocess_exec(*line, env=os.environ | hooks, stdout=out, stderr=out)
        try:
            async with asyncio.timeout(RUN_LIMIT_S):
                return await run.wait()
        finally:
            if run.returncode is None:
                run.kill()
                await run.wait()
