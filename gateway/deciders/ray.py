"""Calls to Ray actors. This is the one file of the gateway that knows Ray."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import ray.exceptions

from actors.config import Config
from actors.remote import Handles, NoSuchActor, residents
from actors.telemetry.metrics import Family
from domain.errors import Overloaded, Refusal
from gateway.deciders.actor_backend import ActorBackend, ActorCall
from gateway.deciders.collector import Unavailable
from gateway.http.metrics import Others

FIGURES_TIMEOUT_S = 2.0  # of one part for the metrics page: less than Prometheus waits for the page

# Ray's ways of saying that an actor is not there at the moment, whatever became of the call.
_GONE = (
    NoSuchActor,
    ray.exceptions.RayActorError,
    ray.exceptions.WorkerCrashedError,
    ray.exceptions.NodeDiedError,
    ray.exceptions.LocalRayletDiedError,
    ray.exceptions.ObjectLostError,
    ray.exceptions.GetTimeoutError,
    ray.exceptions.TaskUnschedulableError,
    ray.exceptions.RpcError,
)


def translate(error: Exception) -> Exception:
    """What an exception of a call to an actor means here: `Unavailable` is worth another try, the rest is not."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, _GONE):
        return Unavailable(type(error).__name__)
    if isinstance(error, ray.exceptions.PendingCallsLimitExceeded):
        return Overloaded(retry_after_s=1)
    return error


def connect(config: Config) -> ActorBackend:
    """The deciders of the configuration's namespace."""
    handles = Handles(config.namespace)
    handles.meet(*(f"region:{region_id}" for region_id in config.regions), *config.persistence_names)
    return ActorBackend(
        _caller(handles), config.regions, config.limits, persistence_actors=config.persistence_actors
    )


def others(config: Config, own: str) -> Others:
    """The numbers of every other part than the gateway `own`."""
    call = _caller(Handles(config.namespace))
    expected = [*(f"region:{region_id}" for region_id in config.regions), *config.persistence_names]
    names = list[str]()

    async def figures(name: str) -> list[Family] | None:
        try:
            async with asyncio.timeout(FIGURES_TIMEOUT_S):
                families: list[Family] = await call(name, "figures")
        except Exception:  # the page says that it is not there
            return None
        return families

    async def ask() -> dict[str, list[Family] | None]:
        # Asked for each time, since gateways come with nodes; while the cluster cannot tell, those of the last time.
        with contextlib.suppress(TimeoutError, ray.exceptions.RaySystemError):
            async with asyncio.timeout(FIGURES_TIMEOUT_S):
                names[:] = await asyncio.to_thread(residents, config.namespace)
        # What the configuration names is missed even where it never came to be.
        others = [name for name in dict.fromkeys([*names, *expected]) if name != own]
        return dict(zip(others, await asyncio.gather(*map(figures, others)), strict=True))

    return ask


def _caller(handles: Handles) -> ActorCall:
    async def call(name: str, method: str, *args: Any) -> Any:
        try:
            return await handles.call(name, method, *args)
        except Exception as error:
            meaning = translate(error)
            if meaning is error:
                raise
            raise meaning from error

    return call
