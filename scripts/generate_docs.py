"""Write the documents that are made from the code: `python scripts/generate_docs.py [--check]`.

docs/protocol.md and docs/asyncapi.json from the driver socket's types, docs/errors.md from the error catalogue,
docs/lifecycles.md with diagrams drawn from the lifecycle tables, docs/gates.md with who may do what and what proves
it, docs/routes.md and docs/openapi.json from the table of routes, .env.example from the settings, docs/vendors.md from
the registry of vendors. `--check` writes nothing and fails when one is stale.
"""

from __future__ import annotations

import argparse
import inspect
import json
import sys
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any, get_args

import msgspec

from actors.config import Limits
from domain import protocol
from domain.errors import CATALOGUE
from domain.marketplace.merchants import MERCHANT
from domain.marketplace.review import ReviewStatus
from domain.orders.lifecycle import (
    OFFER_EDGES,
    ORDER,
    ORDER_EDGES,
    REGION_DECIDES,
    TASK,
    TASK_ENDED,
    TASK_START,
    OfferStatus,
    OrderStatus,
)
from doorstep.settings.settings import explain_settings
from integrations.registry import PORTS
from scripts.gates_page import gates_page
from scripts.routes_page import openapi, routes_page

ROOT = Path(__file__).resolve().parents[1]
SOURCE = "<!-- Made by scripts/generate_docs.py: change the code, not this page. -->"

CLIENT: tuple[type[msgspec.Struct], ...] = get_args(protocol.ClientFrame)
SERVER: tuple[type[msgspec.Struct], ...] = get_args(protocol.ServerFrame)
PARTS: tuple[type[msgspec.Struct], ...] = (
    protocol.TaskView,
    protocol.OfferView,
    protocol.Stop,
    protocol.Place,
    protocol.Snapshot,
)


def _tag(frame: type[msgspec.Struct]) -> str:
    return str(frame.__struct_config__.tag)


def _doc(thing: type) -> str:
    return " ".join((thing.__doc__ or "").split())


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


# -- the driver socket ------------------------------------------------------------------------------------------------


def close_codes(limits: Limits) -> list[tuple[int, str]]:
    """The codes that the server closes with, and when."""
    return [
        (1001, "You closed, or your network did. Reconnect with `resume_from`."),
        (
            1008,
            f"No valid hello within {limits.ws_hello_timeout_s:g} s, a token that is not valid or not a driver's, an"
            " account that is gone or no driver's any more (`FORBIDDEN`), or"
            f" {limits.ws_bad_frames_limit} bad frames in a row.",
        ),
        (
            1009,
            f"A message over {limits.ws_max_frame_bytes} bytes, or in more than {limits.ws_fragments_limit} fragments.",
        ),
        (
            1011,
            f"Nothing came from you, no pong either, within {limits.ws_heartbeat_s:g} s of a ping. You may not see the"
            " code: the connection is mostly dead by then.",
        ),
        (
            protocol.CLOSE_RESTARTING,
            "The server restarts or the region is not serving. Reconnect when `retry_after_ms` of the reason says, else"
            " after a short, random wait.",
        ),
        (
            protocol.CLOSE_OVERLOADED,
            "The server has as much to do as it can. Reconnect when `retry_after_ms` of the reason says.",
        ),
        (
            protocol.CLOSE_TAKEN_OVER,
            (
                "Another socket of the driver took over. An app that has opened no other waits 5 s and connects"
                " again: a hello that it gave up may have been served late. After the third time in a row somebody"
                " else is signed in."
            ),
        ),
        (
            protocol.CLOSE_TOKEN_EXPIRED,
            f"Your access token expired, and no fresh one came by `auth` within {limits.ws_auth_grace_s:g} s. Get one,"
            " then reconnect with `resume_from`.",
        ),
        (
            protocol.CLOSE_SLOW_READER,
            f"More than {limits.ws_outbox_limit} messages were waiting for you. Reconnect with `resume_from`.",
        ),
    ]


SESSION = """
```mermaid
sequenceDiagram
    participant D as Driver's client
    participant S as Server
    D->>S: hello {token, resume_from?}
    S->>D: welcome {driver_id, heartbeat_s, resumed, snapshot}
    D->>S: duty {on: true, lat, lng, until?}
    loop every few seconds
        D->>S: location {lat, lng, at, seq}
    end
    S->>D: offer {seq: 7, offer_id, tasks, stops, expires_at, ttl_s}
    D->>S: offer.seen {offer_id}
    D->>S: offer.accept {id: "a1", offer_id}
    S->>D: offer.accepted {in_reply_to: "a1", offer_id, tasks}
    D->>S: ack {seq: 7}
    D->>S: task.arrive {id: "a2", task_id}
    S->>D: task.updated {in_reply_to: "a2", task}
    Note over D,S: ID check, delivery, refusal and return go over REST
```
"""

RULES = """
* **The hello comes first**, and the `welcome` answers it. Until then nothing else is taken.
* **Duty is said after every welcome.** It is your word that you take offers, and where you are; until it is said on a
  socket, the server goes by what it last heard of you. `location` moves you, it does not put you on duty.
* **A message with an `id` gets exactly one answer** with `in_reply_to`, from the message's own kind or `error`. Send
  it again with the same `id` when no answer came, also on a new socket: a repeat is not carried out twice and gets the
  same answer. Use a new `id` for a new wish; the same one with other content is `IDEMPOTENCY_KEY_REUSED`.
* **Without a network** (F12) go on with the work, keep what is done, and send it when there is a socket again, in the
  order in which it was done, each with the `id` that it got then, the next when the one before is answered. Say `at`,
  when it was done by the server's clock as far as you know it, and `n`, a number that rises with every action of the
  driver on any device: the time in ms, or one more than the last; a new device goes on above the `last_n` of its
  snapshot (over REST, of `GET /v1/drivers/{driver_id}/task`), whatever its clock says. REST takes them as `Device-At`
  and `Device-N` with the steps of tasks and of the door. What has been overtaken is refused: an offer that has ended
  with `OFFER_EXPIRED`, a task that went to somebody else with `NOT_FOUND`, an action whose `n` is not above that of the
  last one carried out for the same driver and order with `OUT_OF_ORDER`. Then drop what you did after it, and take how
  things stand from a snapshot. An order may not be handed over before the answer to its ID check, so a driver without a
  network waits at the door.
* **The server's clock decides.** Your `at` goes into the order's dossier beside the time at which the server heard of
  it: `device_at_ms`, with how late that was (`late_ms`) and your `n` (`device_n`). What cannot be (ahead of now, or
  before the order's last step) is moved to what can, and what you said is kept as `device_said_ms`.
* **A message with a `seq`** is pushed to you. `seq` rises by one with each push; after a restart of your region it
  goes on at a much higher number. Handle each once, and `ack` the last one you handled now and then. Of a client that
  reads slowly, pushes may be left out which a later one about the same task or offer replaces: the push after the gap
  says how many in `skipped`.
* **After a lost connection** send `resume_from` with the last `seq` that you handled. `resumed: true` means that all
  you missed follows the welcome; `resumed: false` means that the `snapshot` is the truth, whatever you believed.
* **A `welcome` may come again** on an open socket when your region has changed or begun anew. Treat it as the first.
* **Times** are RFC 3339 on the server's clock, which in demonstrations runs `speed` times as fast as yours: count down
  `ttl_s`, not the difference to your own clock.
* **Where you are** is believed within reason: not what is over a minute old or older than what was said, in reach of no
  market, or a jump that nobody drives, until some more positions agree with it. Say `at` by the server's clock as far
  as you know it; one that is ahead counts as now. Send a queue in its order, and the newest last.
* **A frame is one JSON object** as text. Unknown fields are ignored, in both directions. `NaN`, infinities, numbers out
  of range, a value of another type (`1` or `"on"` is no boolean, `1.0` no whole number), a key that comes twice, NUL
  characters and binary frames make a frame a bad one; a speed, heading or accuracy that cannot be is taken as not
  known.
* **Heartbeat**: the server pings every `heartbeat_s`; every WebSocket library answers by itself.
* **Tokens end.** The server says `auth.expired` when yours does; send a fresh one by `auth` and the socket stays open,
  without anything being said again. It may be sent at any time before as well.
* **When to connect again**: a handshake that is refused with 429 or 503 says it in `Retry-After`, and the reason of a
  close may hold `retry_after_ms=N` (as in `the server restarts; retry_after_ms=1234`): wait so long, which differs from
  client to client. Where nothing is said, wait 0.2 s times a random factor of 0.5 to 1.5, and twice as long after each
  attempt that led to no `welcome`, up to 5 s.
* **How fast you are read** is limited, and every frame counts, a WebSocket ping or a fragment as well as a message.
  What you send beyond it is not lost, but read late; who goes on so for long cannot be told from who is dead.
"""


def protocol_page() -> str:
    """docs/protocol.md"""
    limits = Limits()
    lines = [
        "# The driver socket",
        "",
        SOURCE,
        "",
        f"`GET /v1/drivers/ws`, subprotocol `{protocol.SUBPROTOCOL}`. The machine-readable form is"
        " [asyncapi.json](asyncapi.json); error codes are in [errors.md](errors.md). Everything here can be done by"
        " REST as well, except hearing of offers at once.",
        "",
        "## A session",
        SESSION,
        "## Rules",
        RULES,
        "## From the client",
        "",
        *_frames(CLIENT),
        "## From the server",
        "",
        *_frames(SERVER),
        "## Parts",
        "",
        *_frames(PARTS),
        "## Close codes",
        "",
        "| code | when |",
        "| --- | --- |",
        *(f"| {code} | {_cell(when)} |" for code, when in close_codes(limits)),
        "",
    ]
    return "\n".join(lines)


def _frames(frames: tuple[type[msgspec.Struct], ...]) -> list[str]:
    _, schemas = msgspec.json.schema_components(frames)
    lines = []
    for frame in frames:
        schema = schemas[frame.__name__]
        name = _tag(frame) if frame.__struct_config__.tag is not None else frame.__name__
        lines += [f"### `{name}`", "", _doc(frame), "", "| field | type | |", "| --- | --- | --- |"]
        required = set(schema.get("required", ()))
        for field, about in schema["properties"].items():
            if field != "type" or "enum" not in about:
                need = "required" if field in required else f"default `{json.dumps(about.get('default'))}`"
                lines.append(f"| `{field}` | {_cell(_type(about))} | {need} |")
        lines.append("")
    return lines


def _type(schema: dict[str, Any]) -> str:
    """A JSON schema in a few words."""
    if "$ref" in schema:
        return "`" + str(schema["$ref"]).rpartition("/")[2] + "`"
    if "anyOf" in schema:
        return " or ".join(_type(option) for option in schema["anyOf"])
    if schema.get("type") == "array":
        return "list of " + _type(schema["items"])
    words = str(schema.get("type", "any"))
    if schema.get("format") == "date-time":
        return "RFC 3339 time"
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        words += f" from {low} to {high}"
    elif low is not None:
        words += f" from {low}"
    least, most = schema.get("minLength"), schema.get("maxLength")
    if most is not None:
        words += f" of {least or 0} to {most} characters"
    return words


def asyncapi() -> str:
    """docs/asyncapi.json"""
    frames = (*CLIENT, *SERVER)
    ref = "#/components/schemas/{name}"
    _, schemas = msgspec.json.schema_components((*frames, *PARTS), ref_template=ref)
    for schema in schemas.values():
        # Compilers since 3.13 take a docstring's indentation away, those before do not.
        if "description" in schema:
            schema["description"] = inspect.cleandoc(schema["description"])
    messages = {
        _tag(frame): {
            "name": _tag(frame),
            "summary": _doc(frame),
            "contentType": "application/json",
            "payload": {"$ref": ref.format(name=frame.__name__)},
        }
        for frame in frames
    }
    on_channel = {tag: {"$ref": f"#/components/messages/{tag}"} for tag in messages}

    def operation(action: str, summary: str, side: tuple[type[msgspec.Struct], ...]) -> dict[str, Any]:
        return {
            "action": action,
            "channel": {"$ref": "#/channels/drivers"},
            "summary": summary,
            "messages": [{"$ref": f"#/channels/drivers/messages/{_tag(frame)}"} for frame in side],
        }

    document = {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Doorstep driver socket",
            "version": protocol.SUBPROTOCOL.rpartition(".")[2],
            "description": f"WebSocket subprotocol `{protocol.SUBPROTOCOL}`. See protocol.md for the rules.",
        },
        "defaultContentType": "application/json",
        "channels": {
            "drivers": {
                "address": "/v1/drivers/ws",
                "description": "One socket for each driver; a second one takes over.",
                "messages": on_channel,
                "bindings": {"ws": {"method": "GET", "bindingVersion": "0.1.0"}},
                "x-close-codes": {str(code): when for code, when in close_codes(Limits())},
            }
        },
        "operations": {
            "fromClient": operation("receive", "What a driver's client sends.", CLIENT),
            "fromServer": operation("send", "What the server sends to a driver's client.", SERVER),
        },
        "components": {"messages": messages, "schemas": schemas},
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


# -- errors -----------------------------------------------------------------------------------------------------------


def errors_page() -> str:
    """docs/errors.md"""
    lines = [
        "# Errors",
        "",
        SOURCE,
        "",
        "REST answers every error with problem details (RFC 9457, `application/problem+json`): `type`, `title`,"
        " `status`, `detail`, `code`, `instance` (the request's id), and where it helps `hint`, `retry_after` (seconds,"
        " as in the `Retry-After` header) and `errors` (what is wrong where). The driver socket sends an `error`"
        " frame with the same `code`. Codes are stable; texts are not.",
        "",
        "| code | HTTP | meaning | what to do |",
        "| --- | --- | --- | --- |",
    ]
    for code, error in sorted(CATALOGUE.items(), key=lambda item: (item[1].status, item[0])):
        lines.append(f"| `{code}` | {error.status} | {_cell(_doc(error))} | {_cell(error.hint)} |")
    return "\n".join(lines) + "\n"


# -- lifecycles -------------------------------------------------------------------------------------------------------


def lifecycles_page() -> str:
    """docs/lifecycles.md"""
    ended = sorted({to for _, to in ORDER_EDGES} - {at for at, _ in ORDER_EDGES})
    decides = ", ".join(f"`{status}`" for status in OrderStatus if status in REGION_DECIDES)
    lines = [
        "# Lifecycles",
        "",
        SOURCE,
        "",
        "Drawn from the tables in `domain/orders/lifecycle.py`, which are what the server decides by; the database's"
        " edge tables are filled from the same ones. What has no arrow here is refused with `WRONG_STATE`.",
        "",
        "## Order",
        "",
        "```mermaid",
        "stateDiagram-v2",
        f"    [*] --> {OrderStatus.DRAFT}",
        *(f"    {at} --> {edge.to}: {event}" for (at, event), edge in ORDER.items()),
        *(f"    {status} --> [*]" for status in ended),
        "```",
        "",
        f"The order's region decides in {decides}; the order's row decides in the other states.",
        "",
        "| in | event (as in the dossier) | leads to | whose step |",
        "| --- | --- | --- | --- |",
        *(
            f"| {at} | `{event}` | {edge.to} | {', '.join(sorted(edge.roles))} |"
            for (at, event), edge in ORDER.items()
        ),
        "",
        "## Task",
        "",
        "```mermaid",
        "stateDiagram-v2",
        *(f"    [*] --> {status}: {kind}" for kind, status in TASK_START.items()),
        *(f"    {at} --> {to}: {event}" for (at, event), to in TASK.items()),
        *(f"    {status} --> [*]" for status in sorted(TASK_ENDED)),
        "```",
        "",
        "A return begins with the goods in the vehicle of the driver who was refused, so it is offered to nobody.",
        "",
        "## Offer",
        "",
        "```mermaid",
        "stateDiagram-v2",
        f"    [*] --> {OfferStatus.OFFERED}",
        *(f"    {at} --> {to}" for at, to in sorted(OFFER_EDGES)),
        *(f"    {to} --> [*]" for _, to in sorted(OFFER_EDGES)),
        "```",
        "",
        "## Merchant",
        "",
        "By `domain/marketplace/merchants.py`: it sells while it is APPROVED.",
        "",
        "```mermaid",
        "stateDiagram-v2",
        f"    [*] --> {ReviewStatus.APPLIED}",
        *(f"    {at} --> {edge.to}: {event}" for (at, event), edge in MERCHANT.items()),
        "```",
        "",
        "| in | event | leads to | whose step | with a reason |",
        "| --- | --- | --- | --- | --- |",
        *(
            f"| {at} | `{event}` | {edge.to} | {', '.join(sorted(edge.roles))} | {'yes' if edge.reasoned else ''} |"
            for (at, event), edge in MERCHANT.items()
        ),
        "",
    ]
    return "\n".join(lines)


def env_example() -> str:
    """`.env.example`."""
    lines = [
        "# Every setting with its default. Copy to .env and uncomment what you change; the environment wins over .env.",
        "# Made by scripts/generate_docs.py from doorstep/settings.",
    ]
    for area, rows in groupby(explain_settings(), key=lambda row: row.area):
        lines += ["", f"# ---- {area[0].lower()}{area[1:]}"]
        for row in rows:
            lines += [f"# {row.description}", f"#{row.name}={row.default}"]
    return "\n".join(lines) + "\n"


VENDORS = """
Each port has one vendor, named by `<PORT>_VENDOR`; a name that is not in the table is refused at start. What the vendor
is told is `<PORT>_OPTIONS`, a JSON object such as `{"silence_s": 30}`; it is looked at before anything starts. An
option that the vendor does not have, one that is missing, of another type or out of its bounds is refused in one line.
That names it and repeats no value, as options may be secrets: `IDENTITY_OPTIONS: there is no option silence; did you
mean silence_s?` Options are kept where the other secrets are, and written to no log. Road engines have
[settings of their own](roads.md). Another vendor is [a file and a line](guides/add-a-vendor.md).
"""


def vendors_page() -> str:
    """docs/vendors.md."""
    lines = [
        "# Vendors",
        "",
        SOURCE,
        "",
        VENDORS.strip(),
    ]
    for port, vendors in PORTS.items():
        lines += ["", f"## {port.replace('_', ' ').capitalize()}", ""]
        lines += [f"`{port.upper()}_VENDOR`, `{port.upper()}_OPTIONS`.", ""]
        lines += ["| vendor | option | type | default | what it is |", "| --- | --- | --- | --- | --- |"]
        for name, vendor in vendors.items():
            schema = msgspec.json.schema(vendor.options)["$defs"][vendor.options.__name__]
            for option, told in schema["properties"].items():
                default = json.dumps(told["default"]) if "default" in told else "required"
                lines.append(
                    f"| `{name}` | `{option}` | {told['type']} | `{default}` | {_cell(told['description'])} |"
                )
            if not schema["properties"]:
                lines.append(f"| `{name}` | none | | | |")
    return "\n".join(lines) + "\n"


PAGES: dict[str, Callable[[], str]] = {
    "docs/vendors.md": vendors_page,
    ".env.example": env_example,
    "docs/protocol.md": protocol_page,
    "docs/asyncapi.json": asyncapi,
    "docs/errors.md": errors_page,
    "docs/lifecycles.md": lifecycles_page,
    "docs/gates.md": lambda: gates_page(SOURCE),
    "docs/routes.md": lambda: routes_page(SOURCE),
    "docs/openapi.json": openapi,
}


def stale() -> list[str]:
    """The pages that are not what the code would make."""
    return [
        name
        for name, make in PAGES.items()
        if not (ROOT / name).is_file() or (ROOT / name).read_text(encoding="utf-8") != make()
    ]


def main() -> int:
    """Write the pages, or with `--check` name the stale ones; the exit status is 1 when there is one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, fail when a page is stale")
    if parser.parse_args().check:
        found = stale()
        for name in found:
            print(f"{name} is stale: run scripts/generate_docs.py", file=sys.stderr)
        return 1 if found else 0
    for name, make in PAGES.items():
        (ROOT / name).parent.mkdir(exist_ok=True)
        (ROOT / name).write_text(make(), encoding="utf-8")
        print(name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
