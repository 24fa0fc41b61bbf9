"""An account's access is taken away from the command line, and given back."""

from __future__ import annotations

import httpx
import pytest

from tests.integration.live import LiveServer, new_key, until

pytestmark = [pytest.mark.integration, pytest.mark.cluster]


async def test_a_disabled_account_is_out_within_seconds(server: LiveServer) -> None:
    email, password = f"zebulon.{new_key()}@example.org", "correct horse battery"
    async with httpx.AsyncClient(base_url=server.url, trust_env=False, timeout=20) as client:

        async def me(token: str) -> int:
            answer = await client.get("/v1/me", headers={"Authorization": f"Bearer {token}"})
            return answer.status_code

        async def sign_in() -> httpx.Response:
            return await client.post("/v1/auth/token", data={"username": email, "password": password})

        body = {"email": email, "password": password, "role": "customer", "name": "Z"}
        token = (await client.post("/v1/auth/register", json=body)).json()["access_token"]
        assert await me(token) == 200
        assert server.command("disable-user", email.upper()) == 0, server.log()

        async def is_out() -> bool:
            return await me(token) == 401

        await until(is_out)
        assert (await sign_in()).json()["code"] == "ACCOUNT_DISABLED"
        assert server.command("enable-user", email) == 0, server.log()
        assert await me((await sign_in()).json()["access_token"]) == 200
        assert await me(token) == 401  # what was taken back stays so
        assert server.command("disable-user", "nobody@example.org") == 1
