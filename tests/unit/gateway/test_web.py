"""The browser apps: what is served of them, and that each has its folder."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway.web import APPS, HOME, App
from tests.support.gateway_world import running

WEB_APPS = Path(__file__).parents[3] / "web" / "apps"


def test_every_app_has_a_folder_and_every_folder_an_app() -> None:
    assert {app.name for app in APPS} == {folder.name for folder in WEB_APPS.iterdir() if folder.is_dir()}
    assert len({app.path for app in APPS}) == len(APPS)
    assert HOME in {app.path for app in APPS}


@pytest.mark.parametrize("app", APPS, ids=lambda app: app.name)
def test_an_app_is_built_for_where_it_is_served(app: App) -> None:
    config = (WEB_APPS / app.name / "vite.config.ts").read_text()
    assert re.findall(r"\bapp\('([\w-]+)', '([\w/-]+)'", config) == [(app.name, app.path)]


async def test_the_app_is_served_with_its_own_paths(tmp_path: Path) -> None:
    app = tmp_path / "ops"
    (app / "assets").mkdir(parents=True)
    (app / "index.html").write_text("<title>ops</title>")
    (app / "assets" / "a-1234.js").write_text("1")
    (app / "favicon.svg").write_text("<svg/>")
    (tmp_path / "secret.txt").write_text("secret")
    async with running(web_dist=str(tmp_path)) as world:
        for path in ("/ops", "/ops/", "/ops/region/tx-dfw", "/ops/index.html"):
            page = await world.http.get(path)
            assert (page.text, page.headers["cache-control"]) == ("<title>ops</title>", "no-cache")
        asset = await world.http.get("/ops/assets/a-1234.js")
        assert "immutable" in asset.headers["cache-control"]
        assert (await world.http.get("/ops/favicon.svg")).headers["cache-control"] == "no-cache"
        for path in (
            "/ops/assets/gone.js",
            "/ops/..%2fsecret.txt",
            "/ops/%2e%2e/secret.txt",
            "/ops//etc/passwd.x",
        ):
            assert (await world.http.get(path)).status_code == 404
        assert (await world.http.get("/")).headers["location"] == "/ops"
    async with running() as bare:
        missing = await bare.http.get("/ops")
        assert missing.status_code == 404
        assert "make web" in missing.text
