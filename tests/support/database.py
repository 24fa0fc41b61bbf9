"""The database of a test as its server has it: migrated by the owner, used by a role of its own."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

import asyncpg

from persistence.migrate import migrate

ROLE, PASSWORD = (
    "doorstep_test_server",
    "for tests alone",
)  # of the whole cluster, so the same in every database


def server_url(owner_url: str) -> str:
    """The same database as the server's role."""
    parts = urlsplit(owner_url)
    place = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{ROLE}:{PASSWORD.replace(' ', '%20')}@{place}"))


async def as_owner(owner_url: str, statement: str, *values: object) -> object:
    """What only the owner may do, an operator say who mends a row; returns the first value of the first row."""
    connection = await asyncpg.connect(owner_url)
    try:
        return await connection.fetchval(statement, *values)
    finally:
        await connection.close()


async def prepared(owner_url: str) -> str:
    """Migrate the database and return the URL that its server would have."""
    url = server_url(owner_url)
    await migrate(owner_url, url)
    return url
