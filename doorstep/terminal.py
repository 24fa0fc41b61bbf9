"""What the commands share: progress, settings, failures and the event loop."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from doorstep.settings import Settings, SettingsError, load_settings

DataDir = Annotated[
    Path | None, typer.Option("--data-dir", help="Folder of databases and secrets (DATA_DIR).")
]


def say(text: str) -> None:
    """Progress goes to standard error, so that standard output holds results alone."""
    print(text, file=sys.stderr, flush=True)


def settings_of(**overrides: Any) -> Settings:
    """The settings, with those given that are not None; ends the command with a sentence when they cannot be used."""
    try:
        return load_settings(**{name: value for name, value in overrides.items() if value is not None})
    except SettingsError as error:
        fail(str(error))


def fail(message: str, status: int = 1) -> NoReturn:
    """End the command."""
    say(message)
    raise typer.Exit(status)


def run(coroutine: Coroutine[Any, Any, int]) -> None:
    """End the command with the status that this comes to; 130 on Ctrl-C and 143 on SIGTERM, which both stop first what
    was started, databases among it."""
    try:
        status = asyncio.run(_until_terminated(coroutine))
    except KeyboardInterrupt:
        status = 130
    except asyncio.CancelledError:
        status = 143
    raise typer.Exit(status)


async def _until_terminated(coroutine: Coroutine[Any, Any, int]) -> int:
    this = asyncio.current_task()
    assert this is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
    return await coroutine
