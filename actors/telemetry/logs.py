"""Log lines as data, one set-up for every process: JSON where a machine reads it, aligned text on a terminal.

Fields are ids (`request_id`, `order_id`, `driver_id`, `region_id`), codes and durations. No names, addresses, e-mail
addresses, positions, tokens or bodies: what is not passed to a logger cannot leak from a log.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog

ROOMS = ("actors", "doorstep", "gateway", "integrations", "persistence", "sim", "solver")

# Fields that must not be written whatever a caller passes: a second lock, not a licence.
PRIVATE_FIELDS = frozenset(
    {
        "authorization",
        "password",
        "token",
        "access_token",
        "vendor_token",
        "email",
        "name",
        "address",
        "lat",
        "lng",
    }
)


def _drop_private(
    _logger: Any, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    for field in PRIVATE_FIELDS & event.keys():
        event[field] = "[private]"
    return event


_SHARED: tuple[structlog.typing.Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    _drop_private,
    structlog.processors.StackInfoRenderer(),
)


def configure(level: str, *, json: bool | None = None) -> None:
    """Send structlog and the standard library's loggers to standard error at `level` (a name such as `INFO`).

    `json` None means: JSON unless standard error is a terminal. Calling it again replaces the set-up.
    """
    as_json = not sys.stderr.isatty() if json is None else json
    render: list[structlog.typing.Processor] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        if as_json
        # Plain: a traceback with local variables would print bodies and tokens.
        else [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_SHARED,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # Libraries at DEBUG write frames, statements and bodies: only our own rooms may say that much.
    root.setLevel(max(logging.getLevelNamesMapping()[level], logging.INFO))
    for room in ROOMS:
        logging.getLogger(room).setLevel(level)
    # Each connection and request is a line of our own, with ids; the server's lines would hold addresses of people.
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "httpx"):
        logging.getLogger(name).setLevel("WARNING")
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
