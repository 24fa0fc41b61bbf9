"""Mission control in a real browser, fed by a real server."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Page, async_playwright, expect

from doorstep.server import WEB_DIST
from scripts.screenshot import BROWSERS, browser_args, find_browser
from tests.integration.live import LiveServer, Town

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.integration,
    pytest.mark.cluster,
    pytest.mark.skipif(not (WEB_DIST / "ops").is_dir(), reason="the page is not built (make web)"),
    pytest.mark.skipif(not any(map(shutil.which, BROWSERS)), reason="there is no Chromium"),
]


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=find_browser(), args=browser_args())
        page = await browser.new_page(viewport={"width": 1400, "height": 900})
        yield page
        await browser.close()


async def test_a_delivery_shows_on_the_page(server: LiveServer, town: Town, page: Page) -> None:
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("requestfailed", lambda request: problems.append(request.url))
    await page.goto(f"{server.url}/ops")
    await expect(page.get_by_test_id("connection")).to_have_attribute("data-state", "live", timeout=20_000)
    await expect(page.get_by_test_id("map")).to_have_attribute("data-ready", "true", timeout=20_000)
    delivered = page.get_by_test_id("delivered-count")
    before = int(await delivered.get_attribute("data-value") or 0)

    driver = await town.driver()
    order_id = await town.order()
    await driver.to_the_door(await driver.accept(await driver.offer()))
    assert (await driver.check_id(order_id)).ok
    assert (await driver.deliver(order_id)).ok

    await expect(delivered).to_have_attribute("data-value", str(before + 1), timeout=10_000)
    await expect(page.get_by_test_id("decisions")).to_contain_text(
        f"Driver {driver.account.user_id[:8]} delivered"
    )
    assert problems == []


async def test_the_page_says_when_the_region_is_away_and_comes_back(server: LiveServer, page: Page) -> None:
    await page.goto(f"{server.url}/ops")
    connection = page.get_by_test_id("connection")
    await expect(connection).to_have_attribute("data-state", "live", timeout=20_000)
    epoch = await page.get_by_test_id("epoch").inner_text()
    server.kill("region")
    await expect(page.get_by_test_id("epoch")).not_to_have_text(epoch, timeout=20_000)
    await expect(connection).to_have_attribute("data-state", "live")
