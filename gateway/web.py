"""The browser apps: which there are, and their built files. What somebody may do there is up to the API alone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from starlette.responses import FileResponse, PlainTextResponse, RedirectResponse, Response

from gateway.http.admission import Kind
from gateway.http.browsers import POLICY_HEADER, page_policy
from gateway.http.policy import Door, Policy
from gateway.rest.kit.answers import Parts
from gateway.rest.kit.routes import Routes


@dataclass(frozen=True, slots=True)
class App:
    """One app: its folder in web/apps and in the build, where it is served, and what its pages may load besides
    what comes from this server."""

    name: str
    path: str
    map_tiles: bool = False


APPS = (App("ops", "/ops", map_tiles=True),)
HOME = "/ops"

NOT_BUILT = "The browser app is not built. Run `make web`, then start the server again.\n"
NO_FILE = "There is no such file.\n"
ASSET_HEADERS = {
    "Cache-Control": "public, max-age=31536000, immutable"
}  # their names hold a hash of the content
PAGE_HEADERS = {"Cache-Control": "no-cache"}

routes = Routes("web", is_shown=False)
# Files, for as long as it takes who asks to take them in.
_PAGES = Policy(roles=Door.OPEN, limit="pages", admission=Kind.EXEMPT)


@routes.get("/", _PAGES)
async def home() -> Response:
    """To mission control."""
    return RedirectResponse(HOME)


def _page(app: App) -> Callable[..., Awaitable[Response]]:
    async def page(services: Parts, path: str = "") -> Response:
        """A file of the built app; any other path is the app's own, so it gets the page."""
        config = services.config
        if not config.web_dist:
            return PlainTextResponse(NOT_BUILT, 404)
        try:
            response = await asyncio.to_thread(_file, Path(config.web_dist, app.name), path)
        except (OSError, ValueError):  # a name that no file system takes
            response = PlainTextResponse(NO_FILE, 404)
        response.headers[POLICY_HEADER] = page_policy(tile_url=config.tile_url if app.map_tiles else None)
        return response

    return page


for _app in APPS:
    _endpoint = _page(_app)
    for _path in (_app.path, f"{_app.path}/{{path:path}}"):
        routes.add("GET", _path, _PAGES, None, _endpoint, name=f"{_app.name}{'_file' * (_path != _app.path)}")


def _file(dist: Path, path: str) -> Response:
    root = dist.resolve()
    index = root / "index.html"
    if not index.is_file():
        return PlainTextResponse(NOT_BUILT, 404)
    if path and "\x00" not in path:
        file = (root / path).resolve()
        if file.is_relative_to(root) and file.is_file() and file != index:
            return FileResponse(file, headers=ASSET_HEADERS if path.startswith("assets/") else PAGE_HEADERS)
        if "." in file.name and file != index:
            return PlainTextResponse(NO_FILE, 404)
    return FileResponse(index, headers=PAGE_HEADERS)
