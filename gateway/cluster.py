"""Calls to Ray actors. This is the one file of the gateway that knows Ray."""

from __future__ import annotations

from typing import Any

import ray.exceptions

from actors.config import Config
from actors.remote import Handles, NoSuchActor
from domain.errors import Overloaded, Refusal
from gateway.actor_backend import ActorBackend
from gateway.collector import Unavailable

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

    async def call(name: str, method: str, *args: Any) -> Any:
        try:
            return await handles.call(name, method, *args)
        except Exception as error:
            meaning = translate(error)
            if meaning is error:
                raise
            raise meaning from error

    return ActorBackend(call, config.regions, config.limits)
