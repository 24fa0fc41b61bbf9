"""What Schemathesis is told of the world it asks: ids of what is there, so that requests reach the things behind them.

Loaded by its command line (SCHEMATHESIS_HOOKS); FUZZ_IDS holds the ids by their names in paths, as JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Hashable
from typing import Any

import schemathesis

IDS: dict[str, str] = json.loads(os.environ.get("FUZZ_IDS", "{}"))
# Of so many requests one asks for something that is not there.
MISSING_EVERY = 5


@schemathesis.hook
def map_path_parameters(context: Any, path_parameters: Any) -> Any:
    """The ids of what is there in place of made-up ones, but in some requests."""
    if not isinstance(path_parameters, dict) or _is_left(path_parameters):
        return path_parameters
    return {name: IDS.get(name, value) for name, value in path_parameters.items()}


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    """The same in bodies."""
    return _about(body, "") if isinstance(body, dict | list) and not _is_left(body) else body


def _is_left(made_up: Any) -> bool:
    # By what was made up and not by chance: a failure that is tried again must ask the same.
    return sum(map(ord, repr(made_up))) % MISSING_EVERY == 0


def _about(value: Any, name: Hashable) -> Any:
    if isinstance(value, dict):
        return {key: _about(part, key) for key, part in value.items()}
    if isinstance(value, list):
        return [_about(part, name) for part in value]
    return IDS.get(name, value) if isinstance(name, str) and isinstance(value, str) else value
