"""The pages in a real browser, under the Content-Security-Policy that they are served with."""

from __future__ import annotations

import shutil

import pytest
from playwright.async_api import ConsoleMessage, Page, async_playwright, expect

from actors.config import Limits
from doorstep.server import WEB_DIST
from scripts.screenshot import BROWSERS, browser_args, find_browser
from tests.unit.gateway.http.listener.listening import serving

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not (WEB_DIST / "ops").is_dir(), reason="the page is not built (make web)"),
    pytest.mark.skipif(not any(map(shutil.which, BROWSERS)), reason="there is no Chromium"),
]
DEADLINE_MS = 30_000


async def _map(page: Page) -> None:
    await expect(page.get_by_test_id("connection")).to_have_attribute(
        "data-state", "live", timeout=DEADLINE_MS
    )
    await expect(page.get_by_test_id("map")).to_have_attribute("data-ready", "true", timeout=DEADLINE_MS)


async def _swagger(page: Page) -> None:
    await expect(page.locator(".opblock").first).to_be_visible(timeout=DEADLINE_MS)


async def _redoc(page: Page) -> None:
    await expect(page.locator("h1").first).to_contain_text("Doorstep", timeout=DEADLINE_MS)


@pytest.mark.parametrize(("path", "is_there"), [("/ops", _map), ("/docs", _swagger), ("/redoc", _redoc)])
async def test_a_page_does_all_that_it_does_within_its_policy(path: str, is_there: object) -> None:
    problems: list[str] = []

    def said(message: ConsoleMessage) -> None:
        if "Content Security Policy" in message.text or "Refused to" in message.text:
            problems.append(message.text)

    limits = Limits(rate_limits="off", ops_frame_s=0.05)
    async with (
        serving(limits=limits, ops_open=True, web_dist=str(WEB_DIST)) as (_, port),
        async_playwright() as playwright,
    ):
        browser = await playwright.chromium.launch(executable_path=find_browser(), args=browser_args())
        page = await browser.new_page()
        page.on("console", said)
        page.on("pageerror", lambda error: problems.append(str(error)))
        answer = await page.goto(f"http://127.0.0.1:{port}{path}")
        assert answer is not None
        policy = (await answer.all_headers())["content-security-policy"]
        assert "script-src 'self'" in policy
        assert "unsafe-inline" not in policy.partition("script-src")[2].partition(";")[0]
        await is_there(page)  # type: ignore[operator]
        # A script that somebody got into the page does not run.
        await page.evaluate(
            """() => {
                const script = document.createElement('script');
                script.text = 'window.bad = 1';
                document.head.append(script);
            }"""
        )
        assert await page.evaluate("() => window.bad") is None
        # ReDoc would show its maker's picture, which is none of ours.
        assert len([one for one in problems if "redoc.ly/redoc/logo" not in one]) == 1, problems
        await browser.close()
