"""The page of the gates: who may do what, from the lifecycle table, and what proves that nobody else may."""

from __future__ import annotations

from domain.orders.lifecycle import ORDER, OrderEvent, OrderStatus, Role
from tests.qa.gates import GATES

LETTERS = {
    Role.CUSTOMER: "C",
    Role.MERCHANT: "M",
    Role.DRIVER: "D",
    Role.SUPPORT: "U",
    Role.DISPATCHER: "P",
    Role.ADMIN: "A",
    Role.SYSTEM: "S",
}


def gates_page(source: str) -> str:
    """docs/gates.md, with a line that says where it comes from."""
    states = [status for status in OrderStatus if any(at is status for at, _ in ORDER)]
    over = ", ".join(f"`{status}`" for status in OrderStatus if status not in states)
    allowed = sum(len(edge.roles) for edge in ORDER.values())
    lines = [
        "# Gates",
        "",
        source,
        "",
        "Who may say that what has happened to an order, and in which state:"
        f" {', '.join(f'**{letter}** {role}' for role, letter in LETTERS.items())} (the server itself)."
        f" Of {len(OrderStatus)} states × {len(OrderEvent)} events × {len(Role)} roles ="
        f" {len(OrderStatus) * len(OrderEvent) * len(Role):,}, these {allowed} are granted and all others refused:"
        " `WRONG_STATE` where the field is empty, `FORBIDDEN` where it is somebody else's.",
        "",
        f"| event | {' | '.join(status.replace('_', '_<br>') for status in states)} |",
        f"| --- |{' --- |' * len(states)}",
        *(f"| `{event}` | {' | '.join(_who(status, event) for status in states)} |" for event in OrderEvent),
        "",
        f"Nothing happens any more in {over}. `{OrderEvent.CREATED}` happens to no order that there is: a customer's"
        " order begins with it.",
        "",
        "The matrix is the code's. The tests have one of their own, written by hand from the law and the requirements"
        " (`tests/qa/law.py`), and hold the code's table, both deciders and the database against it, for all triples"
        " and pairs, none of them sampled. A role is the right person and another one of that role where that matters.",
        "",
        "| gate | requirement | clause | proven by, in `tests/qa` |",
        "| --- | --- | --- | --- |",
        *(
            f"| {gate.rule} | {gate.requirements} | {gate.clauses or '–'} |"
            f" {'<br>'.join(f'`{proof}`' for proof in gate.proofs)} |"
            for gate in GATES
        ),
        "",
    ]
    return "\n".join(lines)


def _who(status: OrderStatus, event: OrderEvent) -> str:
    edge = ORDER.get((status, event))
    return "".join(letter for role, letter in LETTERS.items() if edge and role in edge.roles)
