"""Who takes part in `bench live`: thousands of drivers, a merchant with stores all over the market, customers.

Signing in is slow on purpose (Argon2: some 20 a second and core). On a server of the benchmark's own the accounts are
put straight into its fresh database, with one password hash for all of them, and the tokens are signed with its key.
Against another server everybody signs in.
"""

from __future__ import annotations

import secrets
import time
import uuid
from random import Random

import asyncpg

from actors.config import Config
from bench.live.job import Person, Stand
from domain.orders.lifecycle import Role
from gateway.http.auth import Passwords, Tokens
from sim.concurrency import Progress
from sim.demo.api import Account, Api
from sim.demo.city import REGION_ID, BuiltCity
from sim.demo.clock import ServerTime
from sim.demo.setup import Cast, Site, find_region

CUSTOMERS = 50
PASSWORD = secrets.token_urlsafe()  # of this process' accounts: who reads this signs in as nobody
_COLUMNS = ("user_id", "email", "password_hash", "role", "name", "created_ms")
_DRIVER_COLUMNS = ("driver_id", "region_id", "created_ms", "status", "reviewed_ms", "version")


class Party:
    """Everybody, with tokens."""

    def __init__(
        self, drivers: list[Person], merchant: Person, customers: list[Person], stands: list[Stand]
    ) -> None:
        self.drivers, self.merchant, self.customers, self.stands = drivers, merchant, customers, stands


async def gather_party(
    server: str, config: Config | None, drivers: int, city: BuiltCity, progress: Progress
) -> Party:
    """Accounts and stores on a server. With its `config` they need not sign in one by one; its database is then fresh.

    `ServerRefused` when it serves another market or refuses somebody.
    """
    api = Api(server)
    try:
        await find_region(api, ServerTime())
        cast = Cast(api, PASSWORD, progress)
        accounts = [
            cast.account("merchant", 1, "Bench stores"),
            *(cast.account("customer", n, "Bench") for n in range(CUSTOMERS)),
            *(cast.account("driver", n, f"Bench driver {n}") for n in range(drivers)),
        ]
        if config is not None:
            await put_accounts(config, accounts)
        else:
            progress(f"signing in {len(accounts)} people; passwords are hashed slowly on purpose")
            await cast.sign_in(accounts, "people")
        merchant = accounts[0]
        sites = [Site(site.name, site.point, site.address) for site in city.stores]
        shops = await cast.open_shops(merchant, sites)
    finally:
        await api.close()
    people = [Person(account.user_id, account.token) for account in accounts]
    return Party(
        drivers=people[1 + CUSTOMERS :],
        merchant=Person(merchant.merchant_id, merchant.token),
        customers=people[1 : 1 + CUSTOMERS],
        stands=[Stand(shop.store_id, shop.product_ids[0], shop.point.lat, shop.point.lng) for shop in shops],
    )


async def driver_tokens(config: Config, drivers: int) -> list[str]:
    """Access tokens of so many new drivers, put straight into the server's database."""
    run = time.time_ns() // 1_000_000
    accounts = [
        Account(
            email=f"driver-{run}-{n}@bench.example.com", password=PASSWORD, role="driver", name=f"Bench {n}"
        )
        for n in range(drivers)
    ]
    await put_accounts(config, accounts)
    return [account.token for account in accounts]


async def put_accounts(config: Config, accounts: list[Account]) -> None:
    """Make the accounts in the server's database and fill in ids and tokens."""
    tokens, now_ms = Tokens(config.jwt_secret, config.jwt_ttl_s), time.time_ns() // 1_000_000
    hashed = await Passwords().hash_new(PASSWORD, "", "")
    rows = []
    for account in accounts:
        account.user_id = str(uuid.uuid4())
        account.token = tokens.issue(account.user_id, Role(account.role))
        rows.append((account.user_id, account.email.lower(), hashed, account.role, account.name, now_ms))
    connection = await asyncpg.connect(config.database_url)
    try:
        await connection.copy_records_to_table("users", records=rows, columns=_COLUMNS)
        drivers = [
            (account.user_id, REGION_ID, now_ms, "APPROVED", now_ms, 1)
            for account in accounts
            if account.role == "driver"
        ]
        await connection.copy_records_to_table("drivers", records=drivers, columns=_DRIVER_COLUMNS)
    finally:
        await connection.close()


def homes(city: BuiltCity, drivers: int, seed: int) -> list[tuple[float, float]]:
    """Where each driver begins, (lat, lng)."""
    rng = Random(f"{seed}:homes")
    return [(point.lat, point.lng) for point in (city.driver_home(rng) for _ in range(drivers))]
