"""What the commands share: progress, settings, failures and the event loop."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from doorstep.settings.settings import Settings, SettingsError, load_settings
from persistence.unfit import DatabaseUnfit

PRIVATE_UMASK = 0o077

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
    was started, databases among it. Files that a command writes are its user's alone."""
    os.umask(PRIVATE_UMASK)
    ended_by: list[signal.Signals] = []
    try:
        status = asyncio.run(_until_signalled(coroutine, ended_by))
    except DatabaseUnfit as error:
        fail(str(error))
    except asyncio.CancelledError:
        status = 128 + ended_by[0] if ended_by else 1
    raise typer.Exit(status)


async def _until_signalled(coroutine: Coroutine[Any, Any, int], ended_by: list[signal.Signals]) -> int:
    this = asyncio.current_task()
    assert this is not None

    def end(number: signal.Signals) -> None:
        if not ended_by:  # a second one must not cut short what stops the databases
            ended_by.append(number)
            this.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, end, number)
    return await coroutine
