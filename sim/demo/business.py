"""A merchant's way onto a server: it applies, and an operator approves it, as anybody's.

Who has a server's database makes an operator there and says so (`know_operator`); at another's server somebody has to
name one.
"""

from __future__ import annotations

from sim.demo.api import Account, Api, ServerRefused

_operators: dict[str, Account] = {}  # by the server's URL
ADDRESS = "100 Main Street"


def know_operator(server: str, operator: Account) -> None:
    """Merchants of this server are approved by this account from now on."""
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
    operator = _operators.get(api.server)
    if operator is None:
        raise ServerRefused(
            f"{merchant.name} has applied at {api.server} and waits for its approval: name an administrator by"
            " OPERATOR_EMAIL and OPERATOR_PASSWORD."
        )
    if not operator.token:
        await api.renew(operator)
    reply = await api.request(
        "POST",
        f"/v1/admin/merchants/{merchant.merchant_id}/review",
        account=operator,
        body={"verdict": "approve"},
        key=f"approve {merchant.merchant_id} {found.field('version')}",
        headers={"If-Match": f'"{found.field("version")}"'},
    )
    reply.field("status")
