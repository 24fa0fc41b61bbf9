"""`doorstep money`: whether every cent is where it should be."""

from __future__ import annotations

import msgspec

from doorstep.cli.up import Say, database
from doorstep.embedded.services import EmbeddedError
from doorstep.settings.settings import Settings
from persistence.engine import create_plain_engine
from persistence.marketplace.money_check import balances, problems


async def check_command(settings: Settings, say: Say) -> int:
    """Print what does not agree, one JSON object a line. Exit 0 when all does, else 1."""
    try:
        async with database(settings, say) as url:
            engine = create_plain_engine(url)
            try:
                found, sums = await problems(engine), await balances(engine)
            finally:
                await engine.dispose()
    except (ValueError, EmbeddedError, OSError) as error:
        say(str(error))
        return 1
    for problem in found:
        print(msgspec.json.encode(problem).decode())
    for account, cents in sums.items():
        say(f"{account:<20}{cents / 100:>16,.2f}")
    say(f"{len(found)} problems" if found else "The ledger balances and agrees with orders.")
    return 1 if found else 0
