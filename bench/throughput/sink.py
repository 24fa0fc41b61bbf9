"""The reference of `bench ingest`: a bare Starlette socket on uvicorn that counts text frames and does nothing else.

Run as `python -m bench.throughput.sink PORT`. `GET /metrics` tells the count under the name that the gateway uses.
"""

from __future__ import annotations

import sys

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

_count = 0


async def take(ws: WebSocket) -> None:
    """Read frames until the client goes."""
    global _count
    await ws.accept(subprotocol=next(iter(ws.scope.get("subprotocols", [])), None))
    try:
        while True:
            await ws.receive_text()
            _count += 1
    except WebSocketDisconnect:
        pass


async def metrics(request: Request) -> PlainTextResponse:
    """How many frames were read since the start."""
    return PlainTextResponse(f"doorstep_pings_total {_count}\n")


def main(port: int) -> None:
    """Serve on the loopback interface with the gateway's own settings of uvicorn."""
    app = Starlette(routes=[WebSocketRoute("/v1/drivers/ws", take), Route("/metrics", metrics)])
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=port,
        loop="uvloop",
        http="httptools",
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        log_level="warning",
        access_log=False,
    )


if __name__ == "__main__":
    main(int(sys.argv[1]))
