"""What browsers are told about pages and answers, and whose pages may open a stream or a socket."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from hashlib import sha256
from urllib.parse import urlsplit

# Of every answer. The API's are never a page: nothing in them may be loaded, run or framed.
HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),  # for browsers that do not know frame-ancestors
)
API_POLICY = "default-src 'none'; frame-ancestors 'none'"
POLICY_HEADER = "Content-Security-Policy"
_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_INLINE_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)


def page_policy(*, html: str = "", tile_url: str | None = None, inline_styles: bool = False) -> str:
    """The Content-Security-Policy of a page: what comes from this server, workers made of its own scripts, map tiles
    from where they are. An inline script runs when it is one of `html`'s, by its hash."""
    hashes = " ".join(
        f"'sha256-{base64.b64encode(sha256(script.encode()).digest()).decode()}'"
        for script in _INLINE_SCRIPT.findall(html)
    )
    tiles = _origin_of_tiles(tile_url)
    sources = {
        "default-src": "'self'",
        "script-src": f"'self' {hashes}",
        "worker-src": "'self' blob:",
        "style-src": "'self' 'unsafe-inline'" if inline_styles else "'self'",
        "img-src": f"'self' data: blob: {tiles}",
        "connect-src": f"'self' {tiles}",
        "object-src": "'none'",
        "base-uri": "'none'",
        "form-action": "'self'",
        "frame-ancestors": "'none'",
    }
    return "; ".join(f"{name} {value.strip()}" for name, value in sources.items())


def _origin_of_tiles(tile_url: str | None) -> str:
    match = re.match(r"https?://[^/\s;,'\"]+", tile_url or "")
    return re.sub(r"^(https?://)\{[a-z]+\}\.", r"\1*.", match[0]) if match else ""


def is_welcome(origin: str | None, host: str, allowed: Iterable[str]) -> bool:
    """Whether a page from this origin may open a stream or a socket here: a page of this very server, or of an origin
    that is named. Who has no origin is no browser's page (a driver's app, a program)."""
    if origin is None:
        return True
    if origin.lower() in allowed:
        return True
    parts = urlsplit(origin.lower())
    if parts.scheme not in ("http", "https") or not parts.netloc:
        return False
    return _with_port(parts.netloc, parts.scheme) == _with_port(host.lower(), parts.scheme)


def _with_port(netloc: str, scheme: str) -> str:
    return netloc if re.search(r":[0-9]+\Z", netloc) else f"{netloc}:{_PORTS[scheme]}"
