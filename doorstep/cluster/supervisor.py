"""The Ray cluster as `doorstep up` sees it: a process of its own that brings it up and tells that it is there.

When that process or its cluster ends or falls silent, everything of it is killed and another one is started: Ray's head
keeps nothing that Postgres does not know better (ADR 0017). Whatever happens to Ray cannot reach the databases so,
and when `doorstep up` itself is killed, the pipe tells the head, which ends its cluster.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from actors.config import Config
from doorstep.cluster.head_messages import (
    Beat,
    Failed,
    Lost,
    Order,
    Say,
    Serving,
    Start,
    Stop,
    Word,
    line,
    read_word,
)
from doorstep.cluster.session import MARK_ENV, Session, forget, new_mark
from doorstep.data_folder import append_private, ray_folder
from doorstep.settings.secret_files import ray_token_file

Progress = Callable[[str], None]

START_TIMEOUT_S = 60.0  # of the actors; Ray itself and waiting for nodes come before
START_LIMIT_S = 3 * START_TIMEOUT_S
STOP_TIMEOUT_S = 15.0  # of the actors of a kind, beside what a gateway may take to drain
STOP_KINDS = 3
LEAVE_TIMEOUT_S = 5.0  # for a head that was told to stop before it served
SILENT_BEATS = 2  # a head is silent after so many times what its parts may be
# So many clusters lost in so many seconds: another one would be no better.
LOST_LIMIT, LOST_WINDOW_S = 5, 300.0
LINE_LIMIT_BYTES = 2**24
LOG = "cluster.log"
HEAD = ("-m", "doorstep.cluster.head")


class HeadError(Exception):
    """The cluster cannot be brought up; the message says what to do."""


class Supervisor:
    """Brings the cluster up, again where need be, and down."""

    def __init__(
        self,
        config: Config,
        *,
        data_dir: Path,
        dashboard_port: int,
        address: str | None,
        node_kinds: str,
        progress: Progress,
        given_up: asyncio.Future[str],
    ) -> None:
        """`address`: of a Ray cluster to join, which is not this one's to start anew. `given_up` is told why, when the
        cluster is lost for good."""
        self._config, self._data_dir, self._dashboard_port = config, data_dir, dashboard_port
        self._address, self._node_kinds, self._progress = address, node_kinds, progress
        self._head: asyncio.subprocess.Process | None = None
        self._session: Session | None = None
        self._watching: asyncio.Task[None] | None = None
        self._lost, self._gone = 0, False
        self._lately: deque[float] = deque(maxlen=LOST_LIMIT)
        self.serving: Serving | None = None
        self.given_up = given_up

    async def start(self) -> Serving:
        """Bring everything up; from then on it is watched. `HeadError`."""
        self.serving = await self._launch()
        self._watching = asyncio.create_task(self._watch(), name="supervisor")
        return self.serving

    async def stop(self, *, detach: bool = False) -> None:
        """Drain, if it serves, and leave no process behind."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        served = self.serving is not None and not self._gone
        if self._head is not None and (served or self._address is not None):
            limit_s = STOP_KINDS * stop_timeout_s(self._config) if served else LEAVE_TIMEOUT_S
            with suppress(TimeoutError, HeadError, OSError):
                await self._tell(Stop(detach))
                async with asyncio.timeout(limit_s):
                    while isinstance(word := await self._word(), Say | Beat | Serving):
                        if isinstance(word, Say):
                            self._progress(word.text)
        await self._end()

    # -- one head after the other --------------------------------------------------------------------------------------

    async def _launch(self) -> Serving:
        own = self._address is None
        environment = {**os.environ, MARK_ENV: new_mark()}
        if own:
            environment |= {
                "RAY_AUTH_MODE": "token",
                "RAY_AUTH_TOKEN_PATH": str(ray_token_file(self._data_dir).absolute()),
            }
            environment.pop("RAY_AUTH_TOKEN", None)  # it would win
        with append_private(self._data_dir / LOG) as log:
            log.truncate(0)
            self._head = await asyncio.create_subprocess_exec(
                *(sys.executable, *HEAD),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env=environment,
                limit=LINE_LIMIT_BYTES,
                start_new_session=True,
            )
        # Written down before it may start anything, so that nothing is ever left that nobody could find.
        self._session = Session(self._head.pid, environment[MARK_ENV])
        if own:
            self._session.record(self._data_dir)
        await self._tell(
            Start(
                config=self._config,
                data_dir=str(self._data_dir.absolute()),
                ray_folder=str(ray_folder(self._data_dir)) if own else None,
                dashboard_port=self._dashboard_port,
                address=self._address,
                node_kinds=self._node_kinds,
                mark=environment[MARK_ENV],
                lost=self._lost,
            )
        )
        try:
            async with asyncio.timeout(START_LIMIT_S):
                while True:
                    word = await self._word()
                    if isinstance(word, Serving):
                        return word
                    if isinstance(word, Failed | Lost):
                        raise HeadError(word.reason)
                    if isinstance(word, Say):
                        self._progress(word.text)
        except TimeoutError:
            raise HeadError(
                f"The cluster did not start in time; its log is {self._data_dir / LOG}."
            ) from None

    async def _watch(self) -> None:
        """Until it is given up."""
        while True:
            reason = await self._reason_of_end()
            while True:
                if self._address is not None:
                    self._give_up(f"The Ray cluster is lost: {reason}.")
                    return
                now_s = asyncio.get_running_loop().time()
                if len(self._lately) == LOST_LIMIT and now_s - self._lately[0] < LOST_WINDOW_S:
                    await self._end()
                    self._give_up(f"The Ray cluster is lost again and again: {reason}.")
                    return
                self._lately.append(now_s)
                self._lost += 1
                self._progress(f"the Ray cluster is lost ({reason}): starting it anew")
                await self._end()
                try:
                    self.serving = await self._launch()
                except (HeadError, OSError) as error:
                    reason = str(error).rstrip(".")
                    continue
                self._progress(
                    f"the cluster serves again after {asyncio.get_running_loop().time() - now_s:.1f} s"
                )
                break

    def _give_up(self, why: str) -> None:
        self._gone = True
        if not self.given_up.done():
            self.given_up.set_result(why)

    async def _reason_of_end(self) -> str:
        """Listen as long as the head tells that all is well."""
        silent_s = SILENT_BEATS * max(self._config.limits.silent_s, self._config.limits.heartbeat_s)
        while True:
            try:
                async with asyncio.timeout(silent_s):
                    word = await self._word()
            except TimeoutError:
                return f"its head has been silent for {silent_s:g} s"
            except HeadError:
                return "its head has ended"
            if isinstance(word, Say):
                self._progress(word.text)
            elif isinstance(word, Lost | Failed):
                return word.reason

    async def _end(self) -> None:
        """Kill what is left of it."""
        head, self._head = self._head, None
        if head is None or self._session is None:
            return
        if self._address is None:
            await asyncio.to_thread(self._session.end)
            forget(self._data_dir)
        with suppress(ProcessLookupError):
            head.kill()
        await head.wait()

    async def _tell(self, order: Order) -> None:
        assert self._head is not None
        assert self._head.stdin is not None
        self._head.stdin.write(line(order))
        with suppress(ConnectionError):  # it has ended, which the next word tells
            await self._head.stdin.drain()

    async def _word(self) -> Word:
        """`HeadError` when there will be none any more."""
        assert self._head is not None
        assert self._head.stdout is not None
        text = await self._head.stdout.readline()
        try:
            return read_word(text)
        except msgspec.DecodeError:
            raise HeadError(f"The cluster's process has ended; its log is {self._data_dir / LOG}.") from None


def stop_timeout_s(config: Config) -> float:
    """Seconds of wall time after which an actor that was told to stop is not waited for any more."""
    return STOP_TIMEOUT_S + 2 * config.limits.drain_s
