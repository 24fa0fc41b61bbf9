"""Restarting actors of a running server one at a time, in good order: each ends what it has under way, its process
ends, Ray brings it back with the code and the environment of its node, and when it serves again the next one's turn
comes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import msgspec
import ray

from actors.config import Config
from actors.remote import published_config, residents
from doorstep.cluster.bootstrapper import ClusterError, drain, join, remove
from doorstep.server import NAMESPACE

Say = Callable[[str], None]

BACK_TIMEOUT_S = 60.0  # of one actor
STOP_LIMIT_S = 600.0  # of one actor; a gateway drains within twice DRAIN_S
ASK_TIMEOUT_S = 10.0
ASK_EVERY_S = 0.05
# What is restarted under this name. Regions cannot decide without a store, so stores come first in `all`.
PARTS = {
    "persistence": ("persistence",),
    "regions": ("region",),
    "gateways": ("gateway",),
    "all": ("persistence", "region", "gateway"),
}


class RestartError(Exception):
    """The restart stopped half-way; the message says where."""


async def restart_command(part: str, address: str, say: Say) -> int:
    """Restart the actors of one part of the server at this Ray address. Exit 1: one did not come back."""
    try:
        await asyncio.to_thread(join, address, NAMESPACE)
        await rolling_restart(part, NAMESPACE, say)
    except (ClusterError, RestartError) as error:
        say(str(error))
        return 1
    finally:
        await asyncio.to_thread(ray.shutdown)
    return 0


async def rolling_restart(part: str, namespace: str, say: Say) -> None:
    """One actor after the other. `RestartError` when one is not back in a minute: the others are left as they are."""
    names = await asyncio.to_thread(residents, namespace)
    chosen = [name for kind in PARTS[part] for name in names if name.startswith(f"{kind}:")]
    if not chosen:
        raise RestartError(f"No server runs in this cluster: there are no {part}.")
    for name in chosen:
        actor = await asyncio.to_thread(ray.get_actor, name, namespace)
        began_s = time.monotonic()
        before = await _life(actor)
        if before is not None:
            try:
                await asyncio.wait_for(actor.stop.remote(), STOP_LIMIT_S)
            except Exception as error:  # what it had under way is repeated by whoever asked, as after a crash
                say(f"{name} did not end its work ({type(error).__name__})")
        drained_s = time.monotonic()
        await asyncio.to_thread(ray.kill, actor, no_restart=False)
        await _back(name, actor, before)
        took = f"{drained_s - began_s:.1f} s to end its work, {time.monotonic() - drained_s:.1f} s to be back"
        say(f"{name} serves again: {took}")


async def _back(name: str, actor: Any, before: str | None) -> None:
    """Wait until another process serves under this handle."""
    end_s = time.monotonic() + BACK_TIMEOUT_S
    while time.monotonic() < end_s:
        if await _life(actor) not in (before, None):
            return
        await asyncio.sleep(ASK_EVERY_S)
    raise RestartError(f"{name} was stopped and did not come back in {BACK_TIMEOUT_S:g} s.")


async def _life(actor: Any) -> str | None:
    """Which process serves as this actor; None while none does."""
    try:
        life: str = await asyncio.wait_for(actor.started.remote(), ASK_TIMEOUT_S)
    except (TimeoutError, ray.exceptions.RayError):
        return None
    return life


async def drain_command(address: str, say: Say, *, node: bool = False) -> int:
    """Stop a server that was left in a Ray cluster, in good order. The data and the cluster stay.

    `node`: only what lives on this machine's node, which is about to go; Ray brings it back on another one then.
    """
    try:
        await asyncio.to_thread(join, address, NAMESPACE)
        names, text = await asyncio.to_thread(_running)
        if text is None:
            say("No server was left in this cluster.")
            return 1
        actors = {name: await asyncio.to_thread(ray.get_actor, name, NAMESPACE) for name in names}
        if node:
            here = f"{ray.get_runtime_context().get_node_id()}/"
            lives = await asyncio.gather(*map(_life, actors.values()))
            actors = {
                name: actors[name]
                for name, life in zip(names, lives, strict=True)
                if (life or "").startswith(here)
            }
        say(f"draining {', '.join(actors) or 'nothing'}")
        await drain(actors, msgspec.json.decode(text, type=Config))
        if not node:
            await asyncio.to_thread(remove, actors, NAMESPACE)
    except ClusterError as error:
        say(str(error))
        return 1
    finally:
        await asyncio.to_thread(ray.shutdown)
    return 0


def _running() -> tuple[list[str], bytes | None]:
    return residents(NAMESPACE), published_config(NAMESPACE)
