"""The review of those who apply, merchants and drivers: how far it has come is a table, the same for both."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple, TypeAlias

from domain.errors import Forbidden, WrongState
from domain.orders.lifecycle import OPERATORS, Role


class ReviewStatus(StrEnum):
    """How far an application has come, or whether what was granted stands."""

    APPLIED = "APPLIED"  # waits for a review
    INCOMPLETE = "INCOMPLETE"  # more was asked for
    APPROVED = "APPROVED"
    REJECTED = "REJECTED"
    SUSPENDED = "SUSPENDED"


class ReviewEvent(StrEnum):
    """What becomes of it; others are told by these words, in lower case."""

    SUBMITTED = "SUBMITTED"
    ASKED_FOR_MORE = "ASKED_FOR_MORE"
    APPROVED = "APPROVED"
    REJECTED = "REJECTED"
    SUSPENDED = "SUSPENDED"
    REINSTATED = "REINSTATED"


class Edge(NamedTuple):
    """One step: where it leads, whose it is, and whether it comes with a reason."""

    to: ReviewStatus
    roles: frozenset[Role]
    reasoned: bool = False


Steps: TypeAlias = Mapping[tuple[ReviewStatus, ReviewEvent], Edge]

_S, _E = ReviewStatus, ReviewEvent
_ADMIN = frozenset({Role.ADMIN})


def steps_of(applicant: Role) -> Steps:
    """The steps of a review of people of this role."""
    # fmt: off
    return {
        (_S.APPLIED,    _E.APPROVED):       Edge(_S.APPROVED, _ADMIN),
        (_S.APPLIED,    _E.REJECTED):       Edge(_S.REJECTED, _ADMIN, reasoned=True),
        (_S.APPLIED,    _E.ASKED_FOR_MORE): Edge(_S.INCOMPLETE, _ADMIN, reasoned=True),
        (_S.INCOMPLETE, _E.SUBMITTED):      Edge(_S.APPLIED, frozenset({applicant})),
        (_S.INCOMPLETE, _E.REJECTED):       Edge(_S.REJECTED, _ADMIN, reasoned=True),
        (_S.REJECTED,   _E.SUBMITTED):      Edge(_S.APPLIED, frozenset({applicant})),
        (_S.APPROVED,   _E.SUSPENDED):      Edge(_S.SUSPENDED, OPERATORS, reasoned=True),
        (_S.SUSPENDED,  _E.REINSTATED):     Edge(_S.APPROVED, _ADMIN),
    }
    # fmt: on


def step(steps: Steps, status: ReviewStatus, event: ReviewEvent, role: Role) -> Edge:
    """The step by the table. `WrongState` where it has none, `Forbidden` where it is another role's."""
    edge = steps.get((status, event))
    if edge is None:
        raise WrongState(f"'{event}' is not possible while the review is {status}.")
    if role not in edge.roles:
        raise Forbidden(f"'{event}' belongs to: {', '.join(sorted(edge.roles))}.")
    return edge
