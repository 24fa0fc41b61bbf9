"""The table of routes: each with its policy beside its path.

`gateway.rest.table.ROUTERS` lists them all. A route without a policy cannot be declared, and one whose policy and
signature say different things ends the start.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from fastapi import APIRouter, params
from fastapi.routing import APIRoute
from msgspec import Struct
from starlette.responses import Response

from domain.orders.lifecycle import Role
from gateway.http.auth import caller
from gateway.http.idempotency import CALLS
from gateway.http.policy import ACCOUNTS, Need, Policy
from gateway.http.problem import refusals
from gateway.http.ratelimit import DEFAULTS
from gateway.http.strict_json import StrictRoute

F = TypeVar("F", bound=Callable[..., Awaitable[Response]])


class Declared(Struct, frozen=True, kw_only=True):
    """A route. `name` is unique, and its id in OpenAPI; `view`: what it answers with, None for no JSON of ours;
    `codes`: of the refusals that it knows besides those that its policy brings."""

    name: str
    method: str
    path: str
    policy: Policy
    endpoint: Callable[..., Awaitable[Response]]
    view: Any
    status: int
    codes: tuple[str, ...]
    is_shown: bool


class Routes:
    """The routes of one resource."""

    def __init__(
        self, name: str, *, tag: str = "", route_class: type[APIRoute] = StrictRoute, is_shown: bool = True
    ) -> None:
        """`name`: of the resource, as the ids of its routes begin; `is_shown`: whether OpenAPI has them."""
        self.name, self.declared = name, list[Declared]()
        self.router = APIRouter(tags=[tag or name], route_class=route_class, include_in_schema=is_shown)
        self._is_shown = is_shown

    def get(self, path: str, policy: Policy, view: Any = None, **about: Any) -> Callable[[F], F]:
        """Declare a route; see `add`."""
        return lambda endpoint: self.add("GET", path, policy, view, endpoint, **about)

    def post(self, path: str, policy: Policy, view: Any = None, **about: Any) -> Callable[[F], F]:
        """Declare a route; see `add`."""
        return lambda endpoint: self.add("POST", path, policy, view, endpoint, **about)

    def put(self, path: str, policy: Policy, view: Any = None, **about: Any) -> Callable[[F], F]:
        """Declare a route; see `add`."""
        return lambda endpoint: self.add("PUT", path, policy, view, endpoint, **about)

    def patch(self, path: str, policy: Policy, view: Any = None, **about: Any) -> Callable[[F], F]:
        """Declare a route; see `add`."""
        return lambda endpoint: self.add("PATCH", path, policy, view, endpoint, **about)

    def delete(self, path: str, policy: Policy, view: Any = None, **about: Any) -> Callable[[F], F]:
        """Declare a route; see `add`."""
        return lambda endpoint: self.add("DELETE", path, policy, view, endpoint, **about)

    def add(
        self,
        method: str,
        path: str,
        policy: Policy,
        view: Any,
        endpoint: F,
        *,
        status: int = 200,
        refuses: tuple[str, ...] = (),
        responses: dict[int | str, dict[str, Any]] | None = None,
        tag: str = "",
        needs: tuple[Any, ...] = (),
        name: str = "",
    ) -> F:
        """Declare a route. `view`: the type of what it answers with; `refuses`: codes besides those of the policy;
        `needs`: dependencies that give it nothing."""
        policy = policy.of(method)
        _require_sound(path, policy, endpoint)
        codes = tuple(dict.fromkeys((*_codes(policy), *refuses)))
        name = f"{self.name}_{name or endpoint.__name__}"
        self.declared.append(
            Declared(
                name=name,
                method=method,
                path=path,
                policy=policy,
                endpoint=endpoint,
                view=view,
                status=status,
                codes=codes,
                is_shown=self._is_shown,
            )
        )
        self.router.add_api_route(
            path,
            endpoint,
            methods=[method],
            status_code=status,
            operation_id=name,
            summary=endpoint.__name__.replace("_", " ").capitalize(),
            response_model=None,
            name=name,
            tags=[tag] if tag else None,
            dependencies=list(needs),
            responses=refusals(*codes, mutation=policy.key is not Need.NO) | (responses or {}),
        )
        return endpoint


def _codes(policy: Policy) -> list[str]:
    """What a policy itself can refuse with."""
    codes = []
    if not isinstance(policy.roles, str):
        codes.append("FORBIDDEN")
    if policy.owner:
        codes.append("NOT_FOUND")
    if policy.version is not Need.NO:
        codes.append("VERSION_MISMATCH")
    if policy.version is Need.MUST:
        codes.append("VERSION_REQUIRED")
    if policy.key is Need.MUST:
        codes.append("IDEMPOTENCY_KEY_REQUIRED")
    return codes


def _require_sound(path: str, policy: Policy, endpoint: Callable[..., Any]) -> None:
    """`TypeError` when what the policy says is not what the signature does."""
    called = [
        marker.dependency
        for parameter in inspect.signature(endpoint, eval_str=True).parameters.values()
        for marker in getattr(parameter.annotation, "__metadata__", ())
        if isinstance(marker, params.Depends)
    ]
    needs = set(called)
    where = f"{endpoint.__module__}.{endpoint.__name__}"
    if policy.limit not in DEFAULTS:
        raise TypeError(f"{where}: there is no budget {policy.limit}")
    if policy.owner and f"{{{policy.owner}}}" not in path:
        raise TypeError(f"{where}: its path has no {policy.owner}")
    if policy.needs_token and not policy.owner and any(f"{{{name}}}" in path for name in ACCOUNTS):
        raise TypeError(f"{where}: its path names an account, and its policy no owner")
    if policy.needs_token is not (caller in needs):
        raise TypeError(f"{where}: its policy and its parameters differ on whether a token is needed")
    if policy.jobs and Role.MERCHANT not in policy.roles:
        raise TypeError(f"{where}: its policy names jobs at a merchant's, and nobody who has one")
    if (policy.key is not Need.NO) is not bool(needs & CALLS):
        raise TypeError(f"{where}: its policy and its parameters differ on the Idempotency-Key")
    if caller in needs and any(one in CALLS for one in called[: called.index(caller)]):
        raise TypeError(f"{where}: whom the caller works for is not known before the caller is")
