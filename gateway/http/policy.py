"""What every route says of itself: who may call it, whose things it touches, and how it is treated.

All that goes by a request's path is made from these: authority, admission, rate limits, the forms of bodies, the
methods of a path, OpenAPI, the page of routes, what simulated people call, and the tests of every route's authority.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from domain.errors import Forbidden, NotFound
from domain.marketplace.party import Job, Membership
from domain.orders.lifecycle import Role
from gateway.http.admission import Kind

OPERATORS = (Role.DISPATCHER, Role.ADMIN)
DESK = (Role.SUPPORT, *OPERATORS)  # who sees everybody's orders and tickets


class Need(StrEnum):
    """Whether a header comes with a request."""

    NO = "no"
    MAY = "may"
    MUST = "must"


class Door(StrEnum):
    """Who gets in where no roles are named. All but the first two look at the request themselves."""

    OPEN = "anybody"
    SIGNED_IN = "whoever has signed in"
    OPS = "operators; anybody where mission control is open"
    OPS_OR_SIGNED_IN = "whoever has signed in; anybody where mission control is open"
    INTERNAL = "who has the internal token"
    METRICS = "who has the metrics' token"


class Policy(Struct, frozen=True, kw_only=True):
    """`roles`: who may call it. `owner`: the id in the path of whose it is: an account's own, its merchant's, or a
    record's whose row says it; a stranger is told that there is no such thing, and operators are none. `jobs`: which of
    the people who work for a merchant, any where none is named. `key`: Idempotency-Key; `version`: If-Match. `limit`:
    the budget it is paid from, and `admission` what it is under load; both by the method where nothing is said. `form`:
    its body is a form. `traced`: False for what machines ask every few seconds. That an operator's change is logged
    needs no word here: every one is (`persistence.marketplace.carry_out`).
    """

    roles: tuple[Role, ...] | Door
    owner: str = ""
    jobs: tuple[Job, ...] = ()
    key: Need = Need.NO
    version: Need = Need.NO
    limit: str = ""
    admission: Kind | None = None
    form: bool = False
    traced: bool = True

    def of(self, method: str) -> Policy:
        """The policy with what the method says where it does not."""
        reads = method == "GET"
        return replace(
            self,
            limit=self.limit or ("read" if reads else "write"),
            admission=self.admission or (Kind.UNDER_WAY if reads else Kind.NEW),
        )

    @property
    def kind(self) -> Kind:
        """What it is under load."""
        assert self.admission is not None
        return self.admission

    @property
    def needs_token(self) -> bool:
        """Whether an access token must come with it."""
        return self.roles is Door.SIGNED_IN or not isinstance(self.roles, Door)

    def require(
        self,
        principal_id: str,
        role: Role,
        ids: Mapping[str, object],
        member: Membership | None = None,
    ) -> None:
        """`Forbidden` for another role or job, `NotFound` for an account's or a merchant's own things that are
        another's. `ids`: those in the path, by name; `member`: whom the principal works for."""
        if not isinstance(self.roles, Door) and role not in self.roles:
            raise Forbidden(f"This belongs to: {', '.join(sorted(self.roles))}.")
        if self.owner in ACCOUNTS and role not in DESK:
            own = principal_id
            if self.owner == "merchant_id":
                own = "" if member is None else member.merchant_id
            if plain(ids[self.owner]) != own:
                raise NotFound()
        if self.jobs and role is Role.MERCHANT:
            if member is None:
                raise NotFound()
            if member.job not in self.jobs:
                raise Forbidden(f"This belongs to: {', '.join(sorted(self.jobs)).lower()}.")


# Names of ids in paths that are accounts' own, or their merchant's.
ACCOUNTS = frozenset({"merchant_id", "driver_id", "customer_id"})
# Of a path that no route has: it can come later, and is paid for by the address that it comes from.
UNKNOWN = Policy(roles=Door.OPEN, limit="pages", admission=Kind.NEW)


def plain(value: object) -> str:
    """An id as the server writes it."""
    try:
        return str(UUID(str(value)))
    except ValueError:
        return str(value)


class _Node:
    """The routes beneath a part of a path."""

    __slots__ = ("any", "below", "methods", "rest")

    def __init__(self) -> None:
        self.below: dict[str, _Node] = {}
        self.any: _Node | None = None  # a parameter
        self.rest: dict[str, Policy] = {}  # a parameter that takes the rest of the path
        self.methods: dict[str, Policy] = {}


class RouteTable:
    """Policies by path, found before anything else is done about a request."""

    def __init__(self, policies: Mapping[tuple[str, str], Policy]) -> None:
        """`policies` by method and template."""
        self._policies = dict(policies)
        self._root = _Node()
        for (method, path), policy in policies.items():
            node = self._root
            *parts, last = path.split("/")
            for part in parts:
                node = _child(node, part)
            target = node.rest if last.endswith(":path}") else _child(node, last).methods
            target[method] = policy

    def of(self, method: str, template: str) -> Policy:
        """The policy of a route that was found."""
        return self._policies[(method, template)]

    def find(self, method: str, path: str) -> Policy:
        """The policy of a request. One whose path has no such method costs as much as one that it has."""
        found = self._found(path)
        method = "GET" if method == "HEAD" else method
        if method in found:
            return found[method]
        return replace(next(iter(found.values())), admission=Kind.UNDER_WAY, form=False) if found else UNKNOWN

    def methods(self, path: str) -> list[str]:
        """The methods of a path, sorted; none for one that is not there, all that there are for `*`."""
        known = {method for method, _ in self._policies} if path == "*" else set(self._found(path))
        if "GET" in known:
            known.add("HEAD")
        return sorted(known | {"OPTIONS"}) if known else []

    def _found(self, path: str) -> dict[str, Policy]:
        node, rest = self._root, dict[str, Policy]()
        for part in path.split("/"):
            rest = node.rest or rest
            below = node.below.get(part) or (node.any if part else None)
            if below is None:
                return rest
            node = below
        return node.methods or rest


def _child(node: _Node, part: str) -> _Node:
    is_id = part.startswith("{")
    if (node.below if is_id else node.any) and part:
        raise ValueError(f"{part}: a part of a path is a word or an id, and not both")
    if is_id:
        node.any = node.any or _Node()
        return node.any
    return node.below.setdefault(part, _Node())
