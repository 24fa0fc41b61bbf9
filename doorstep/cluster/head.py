"""`python -m doorstep.cluster.head`: the process that holds a server's Ray cluster. Started by `supervisor.py` alone.

It leads a session of the operating system's, in which everything of the cluster lives. Its orders come over standard
input; the end of that is the end of whoever started it, and then nobody needs the cluster any more.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from actors.telemetry.logs import configure
from doorstep.cluster.head_messages import (
    Beat,
    Failed,
    Lost,
    Say,
    Serving,
    Start,
    Stop,
    Word,
    line,
    read_order,
)
from doorstep.cluster.session import Session

ORDER_LIMIT_BYTES = 2**24
_log = logging.getLogger(__name__)


class Head:
    """One cluster's life, from the first order to the end."""

    def __init__(self, start: Start, orders: asyncio.StreamReader, tell: Callable[[Word], None]) -> None:
        self._start, self._orders, self._tell = start, orders, tell
        self._own = Session(os.getpid(), start.mark) if start.address is None else None

    async def live(self) -> NoReturn:
        """Bring the cluster up and watch it until told to stop."""
        # Here, since Ray takes a second to import and nothing that is refused before needs it.
        from doorstep.cluster.bootstrapper import Cluster

        start = self._start
        cluster = Cluster(
            start.config,
            data_dir=Path(start.data_dir),
            ray_folder=start.ray_folder,
            dashboard_port=start.dashboard_port,
            address=start.address,
            node_kinds=start.node_kinds,
            session=self._own,
            lost=start.lost,
        )
        serving = asyncio.create_task(self._serve(cluster), name="serve")
        order = await self._order()
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        if isinstance(order, Stop):
            await cluster.stop(self._say, detach=order.detach)
        self._leave()

    async def _serve(self, cluster: object) -> None:
        """Tells how it ends and does not end the process: that is for whoever started it."""
        from doorstep.cluster.bootstrapper import Cluster, ClusterError, ClusterLost

        assert isinstance(cluster, Cluster)
        try:
            await cluster.start(self._say)
            self._tell(
                Serving(
                    config=cluster.config,
                    dashboard_url=cluster.dashboard_url,
                    gateway_hosts=cluster.gateway_hosts,
                )
            )
            await cluster.watch(self._say, lambda: self._tell(Beat()))
        except TimeoutError:
            self._tell(Failed(f"The actors did not start in time; their logs are in {self._logs()}."))
        except ClusterError as error:
            self._tell(Failed(str(error)))
        except ClusterLost as error:
            self._tell(Lost(str(error)))
        except Exception as error:
            _log.exception("the cluster cannot be held")
            self._tell(Lost(f"its head fails: {type(error).__name__}"))

    def _logs(self) -> str:
        return f"{self._start.ray_folder or '/tmp/ray'}/session_latest/logs"

    def _say(self, text: str) -> None:
        self._tell(Say(text))

    async def _order(self) -> Stop | None:
        """The next one; None when there will be none any more."""
        text = await self._orders.readline()
        order = read_order(text) if text else None
        return order if isinstance(order, Stop) else None

    def _leave(self) -> NoReturn:
        """End, and a cluster of one's own before. At once: Ray's own farewell takes seconds and may hang."""
        if self._own is not None:
            self._own.end(spare=os.getpid())
        os._exit(0)


async def _main(words: int) -> None:
    loop = asyncio.get_running_loop()
    orders = asyncio.StreamReader(limit=ORDER_LIMIT_BYTES)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)

    def tell(word: Word) -> None:
        try:
            os.write(words, line(word))
        except BrokenPipeError:  # whoever started this is gone, which the orders tell as well
            _log.warning("nobody listens")

    text = await orders.readline()
    if text:
        start = read_order(text)
        assert isinstance(start, Start)
        configure(start.config.log_level)
        await Head(start, orders, tell).live()


def main() -> None:
    """Words go to what was standard output; whatever else writes there writes to the log."""
    words = os.dup(1)
    os.dup2(2, 1)
    asyncio.run(_main(words))


if __name__ == "__main__":
    main()
