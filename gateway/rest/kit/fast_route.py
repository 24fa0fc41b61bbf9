"""Routes that come often, on a shorter way than the framework's, to the same end.

What a route takes is said once, by the signatures of its endpoint and of what that depends on. When the route is made,
a plan is made from them: which headers and ids of the path to read, which body, what to call. A request that the plan
takes goes by it. Any other goes the framework's way from its beginning, and nothing was called before: what is refused,
and in which words, is the framework's alone (docs/adr/0018-fast-routes.md).
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeAlias, get_args, get_type_hints

from fastapi import Request, params
from msgspec import Struct
from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from gateway.http.strict_json import NotStrict, StrictRequest, StrictRoute, decode

_JSON = "application/json"
_EMPTY = inspect.Parameter.empty
# What a value that came is made into; `ValidationError` where the signature has no such value.
Check: TypeAlias = Callable[[Any], Any]


class NoPlan(TypeError):
    """The signature has something that only the framework can read."""


class Given(Struct, frozen=True):
    """A parameter and the name under which its value comes; `default` is `_EMPTY` where it must come."""

    name: str
    alias: str
    check: Check
    default: Any


class Function(Struct, frozen=True):
    """What is called, and the parameters that are read from the request. `request`: those that are the request."""

    call: Callable[..., Awaitable[Any]]
    request: tuple[str, ...] = ()
    paths: tuple[Given, ...] = ()
    headers: tuple[Given, ...] = ()

    def read(self, request: Request) -> dict[str, Any]:
        """The arguments, from the request alone. `LookupError` when one is missing that must come."""
        values = dict[str, Any].fromkeys(self.request, request)
        for given in self.paths:
            values[given.name] = given.check(request.path_params[given.alias])
        for given in self.headers:
            value = request.headers.get(given.alias)
            if value is not None:
                values[given.name] = given.check(value)
            elif given.default is _EMPTY:
                raise LookupError(given.alias)
            else:
                values[given.name] = given.default
        return values


class Plan(Struct, frozen=True):
    """An endpoint, its body, and the functions that give it its other arguments, in the order of their calls."""

    endpoint: Function
    body: Given | None
    needs: tuple[tuple[str, Function], ...]

    def body_of(self, request: Request, content: bytes) -> dict[str, Any]:
        """The argument that is the body."""
        if self.body is None:
            return {}
        if content:
            if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _JSON:
                raise LookupError("content-type")
            return {self.body.name: self.body.check(decode(content))}
        if self.body.default is _EMPTY:
            raise LookupError("body")
        return {self.body.name: self.body.default}


class FastRoute(StrictRoute):
    """A route that goes by its plan, where it has one. Its endpoint returns responses."""

    plan: Plan | None = None

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        slowly = super().get_route_handler()
        try:
            plan = self.plan = plan_of(self)
        except NoPlan:
            return slowly
        endpoint, needs = plan.endpoint, plan.needs

        async def quickly(request: Request) -> Response:
            request = StrictRequest(request.scope, request.receive)
            try:
                arguments = endpoint.read(request)
                asked = [function.read(request) for _, function in needs]
                if plan.body is not None:
                    arguments |= plan.body_of(request, await request.body())
            except (ValidationError, NotStrict, LookupError, ClientDisconnect):
                return await slowly(request)
            for (name, function), values in zip(needs, asked, strict=True):
                arguments[name] = await function.call(**values)
            response: Response = await endpoint.call(**arguments)
            return response

        return quickly


def plan_of(route: StrictRoute) -> Plan:
    """The plan of a route. `NoPlan` where it depends on what depends on something itself, or takes anything but a JSON
    body, ids of its path, headers and the request."""
    if route.dependencies:
        raise NoPlan("dependencies of the route itself")
    body: Given | None = None
    needs: list[tuple[str, Function]] = []
    own: dict[str, Any] = {}
    for name, hint, default in _parameters(route.endpoint):
        needed = _marked(hint, params.Depends)
        if needed is not None:
            assert needed.dependency is not None
            needs.append((name, _function(needed.dependency, _parameters(needed.dependency), frozenset())))
        elif _is_body(hint):
            if body is not None:
                raise NoPlan("two bodies")
            body = Given(name, name, TypeAdapter(hint).validate_python, default)
        else:
            own[name] = (hint, default)
    if len({function.call for _, function in needs}) < len(needs):
        raise NoPlan("the framework would call this once")
    parameters = [(name, hint, default) for name, (hint, default) in own.items()]
    return Plan(_function(route.endpoint, parameters, frozenset(route.param_convertors)), body, tuple(needs))


def _parameters(call: Callable[..., Any]) -> list[tuple[str, Any, Any]]:
    """Name, type and default of each parameter."""
    body = call if inspect.isfunction(call) else type(call).__call__
    if not inspect.iscoroutinefunction(body):
        raise NoPlan("no coroutine")
    hints = get_type_hints(body, include_extras=True)
    return [
        (name, hints.get(name), parameter.default)
        for name, parameter in inspect.signature(call).parameters.items()
    ]


def _function(
    call: Callable[..., Any], parameters: list[tuple[str, Any, Any]], in_path: frozenset[str]
) -> Function:
    request: list[str] = []
    paths: list[Given] = []
    headers: list[Given] = []
    for name, hint, default in parameters:
        header = _marked(hint, params.Header)
        if hint is Request:
            request.append(name)
        elif header is not None:
            if header.alias is not None or not header.convert_underscores:
                raise NoPlan("a header of another name")
            headers.append(Given(name, name.replace("_", "-"), TypeAdapter(hint).validate_python, default))
        elif name in in_path:
            paths.append(Given(name, name, TypeAdapter(hint).validate_python, default))
        else:
            raise NoPlan(f"{name} of {hint}")
    return Function(call, tuple(request), tuple(paths), tuple(headers))


def _marked(hint: Any, kind: type[Any]) -> Any:
    """The marker of this kind that a type is annotated with."""
    return next((one for one in getattr(hint, "__metadata__", ()) if isinstance(one, kind)), None)


def _is_body(hint: Any) -> bool:
    """Whether it is a model, or a model that may be left out."""
    models = [one for one in get_args(hint) or (hint,) if one is not type(None)]
    return len(models) == 1 and isinstance(models[0], type) and issubclass(models[0], BaseModel)
