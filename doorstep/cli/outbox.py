"""`doorstep outbox`: the dead letters, which wait for a person."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from domain.ports import Channel
from doorstep.cli.up import Say, database
from doorstep.embedded.services import EmbeddedError
from doorstep.settings.settings import Settings
from persistence.outbox.dead_letters import DeadLetters


async def list_command(settings: Settings, say: Say, *, channel: str | None, limit: int) -> int:
    """Print the oldest dead letters, one JSON object a line. Exit 0, or 1 with the reason said."""
    try:
        async with _dead_letters(settings, say, channel) as dead:
            letters = await dead.oldest(channel, limit)
    except (ValueError, EmbeddedError, OSError) as error:
        say(str(error))
        return 1
    for letter in letters:
        print(msgspec.json.encode(letter).decode())
    say(f"{len(letters)} dead letters" + (", and perhaps more" if len(letters) == limit else ""))
    return 0


async def retry_command(
    settings: Settings, say: Say, *, event_ids: list[int], every: bool, channel: str | None
) -> int:
    """Have dead letters tried again. Exit 0, or 1 with the reason said."""
    try:
        if bool(event_ids) == every:
            raise ValueError("Name the events, or say --all.")
        async with _dead_letters(settings, say, channel) as dead:
            count = await dead.retry(None if every else event_ids, channel)
    except (ValueError, EmbeddedError, OSError) as error:
        say(str(error))
        return 1
    say(f"{count} events are tried again")
    return 0 if count or every else 1


async def drop_command(settings: Settings, say: Say, *, event_ids: list[int]) -> int:
    """Give dead letters up. Exit 0, or 1 with the reason said."""
    try:
        async with _dead_letters(settings, say, None) as dead:
            count = await dead.give_up(event_ids)
    except (ValueError, EmbeddedError, OSError) as error:
        say(str(error))
        return 1
    say(f"{count} events are given up")
    return 0 if count else 1


@asynccontextmanager
async def _dead_letters(settings: Settings, say: Say, channel: str | None) -> AsyncIterator[DeadLetters]:
    if channel is not None and channel not in [str(one) for one in Channel]:
        raise ValueError(f"--channel is one of {', '.join(Channel)}, and is {channel}.")
    async with database(settings, say) as url:
        dead = DeadLetters.connect(
            url,
            statement_timeout_s=settings.db_statement_timeout_s,
            connect_timeout_s=settings.db_connect_timeout_s,
        )
        try:
            yield dead
        finally:
            await dead.close()
