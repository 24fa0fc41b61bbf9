"""The database of a test as its server has it: migrated by the owner, used by a role of its own."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

import asyncpg

from doorstep.embedded.servers import PostgresServer

ROLE, PASSWORD = (
    "doorstep_test_server",
    "for tests alone",
)  # of the whole cluster, so the same in every database


class HastyPostgres(PostgresServer):
    """A Postgres that leaves it to the system when its files reach the disk: what dies in tests is a process, never
    the machine."""

    def command(self, port: int) -> list[str]:
        hasty = ("fsync=off", "full_page_writes=off")
        return [*super().command(port), *(part for setting in hasty for part in ("-c", setting))]


def name_of(url: str) -> str:
    """The name of the database."""
    return urlsplit(url).path.removeprefix("/")


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
