"""Merchants' and drivers' way onto a server: they apply, and an operator approves it, as anybody's.

Who has a server's database makes an operator there and says so (`know_operator`); at another's server somebody has to
name one.
"""

from __future__ import annotations

from sim.demo.api import Account, Api, ServerRefused
from sim.demo.city import REGION_ID

_operators: dict[str, Account] = {}  # by the server's URL
ADDRESS = "100 Main Street"
PAPERS_UNTIL = "2099-01-01T00:00:00Z"  # so long the documents of simulated drivers are good


def know_operator(server: str, operator: Account) -> None:
    """Merchants and drivers of this server are approved by this account from now on."""
    _operators[server.rstrip("/")] = operator


async def enter_business(api: Api, merchant: Account) -> None:
    """Have the account sell: fills in its `merchant_id`. It has signed in. `ServerRefused` where nobody can approve it.
    What an earlier run has begun is gone on with."""
    me = await api.request("GET", "/v1/me", account=merchant)
    merchant.merchant_id = str(me.field("merchant_id") or "")
    if not merchant.merchant_id:
        about = {"name": merchant.name, "legal_name": merchant.name, "address": ADDRESS}
        applied = await api.request("POST", "/v1/merchants", account=merchant, body=about, key="apply")
        merchant.merchant_id = str(applied.field("id"))
    found = await api.request("GET", f"/v1/merchants/{merchant.merchant_id}", account=merchant)
    if found.field("status") == "APPROVED":
        return
    await _approve(api, merchant, f"merchants/{merchant.merchant_id}", int(found.field("version")))


async def enter_service(api: Api, driver: Account) -> None:
    """Have the account drive. It has signed in. `ServerRefused` where nobody can approve it."""
    path = f"/v1/drivers/{driver.user_id}"
    found = await api.request("GET", path, account=driver)
    if found.status == 404:
        papers = [
            {"kind": kind, "last_four": "0000", "expires_at": PAPERS_UNTIL}
            for kind in ("LICENSE", "INSURANCE")
        ]
        about = {"region_id": REGION_ID, "documents": papers}
        found = await api.request("POST", "/v1/drivers", account=driver, body=about, key="apply")
    if found.field("status") != "APPROVED":
        await _approve(api, driver, f"drivers/{driver.user_id}", int(found.field("version")))


async def _approve(api: Api, applicant: Account, path: str, version: int) -> None:
    operator = _operators.get(api.server)
    if operator is None:
        raise ServerRefused(
            f"{applicant.name} has applied at {api.server} and waits for its approval: name an administrator by"
            " OPERATOR_EMAIL and OPERATOR_PASSWORD."
        )
    if not operator.token:
        await api.renew(operator)
    reply = await api.request(
        "POST",
        f"/v1/admin/{path}/review",
        account=operator,
        body={"verdict": "approve"},
        key=f"approve {path} {version}",
        headers={"If-Match": f'"{version}"'},
    )
    reply.field("status")
