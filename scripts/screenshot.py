"""Take a picture of mission control once it has something to show.

Starts the system's own Chromium headless (no browser is downloaded), opens the page, waits until the region has
counted its first delivery and the map has drawn, and writes a PNG.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

from playwright.sync_api import Error, Page, sync_playwright
from playwright.sync_api import TimeoutError as WaitTimeoutError

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

# A machine without a GPU draws WebGL in software; the rest keeps Chromium from calling home at start-up.
BROWSER_ARGS = (
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

HAS_DELIVERY = """
() => Number(document.querySelector('[data-testid="delivered-count"]')?.dataset.value ?? 0) > 0
"""
MAP_IS_DRAWN = """
() => document.querySelector('[data-testid="map"]')?.dataset.ready === 'true'
"""


def find_browser() -> str:
    """Return the path of a Chromium, from CHROMIUM or from PATH."""
    named = os.environ.get("CHROMIUM")
    if named:
        found = shutil.which(named)
        if found is None:
            raise SystemExit(f"CHROMIUM={named} is not an executable")
        return found
    for name in BROWSERS:
        found = shutil.which(name)
        if found is not None:
            return found
    raise SystemExit(
        f"no browser found: looked for {', '.join(BROWSERS)} on PATH. "
        "Install one (Debian: apt-get install chromium) or set CHROMIUM to its path."
    )


def browser_args() -> list[str]:
    """Return Chromium's flags; as root its sandbox cannot start."""
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    return [*BROWSER_ARGS, *sandbox]


def why_not(page: Page) -> str:
    """Say what the page shows instead of a delivery."""
    if page.locator('[data-testid="sign-in"]').count() > 0:
        return "the page asks for a sign-in"
    link = page.locator('[data-testid="connection"]')
    if link.count() == 0:
        return "this is not mission control"
    return f"the page says: {link.inner_text().strip()}"


def take(url: str, out: Path, wait_s: float, width: int, height: int) -> None:
    """Write a picture of the page at `url` to `out`, or exit with the reason why not."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=browser_args())
        try:
            page = browser.new_page(viewport={"width": width, "height": height})
            page.on("pageerror", lambda error: print(f"page error: {error}", file=sys.stderr))
            try:
                # Not "networkidle": the page's stream never ends.
                page.goto(url, wait_until="load", timeout=wait_s * 1000)
            except Error as error:
                raise SystemExit(f"cannot open {url}: {error.message.splitlines()[0]}") from error
            try:
                page.wait_for_function(HAS_DELIVERY, timeout=wait_s * 1000)
                page.wait_for_function(MAP_IS_DRAWN, timeout=wait_s * 1000)
            except WaitTimeoutError as error:
                raise SystemExit(f"no delivery on a drawn map after {wait_s:g} s; {why_not(page)}") from error
            out.parent.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=out)
        finally:
            browser.close()
    print(f"wrote {out}")


def main() -> None:
    """Read the command line and take the picture."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--url", default="http://localhost:8000/ops", help="where mission control is served")
    parser.add_argument("--out", type=Path, default=Path("docs/images/ops.png"), help="the PNG to write")
    parser.add_argument("--wait-s", type=float, default=60.0, help="how long to wait for the first delivery")
    parser.add_argument("--width", type=int, default=1600)
    parser.add_argument("--height", type=int, default=1000)
    args = parser.parse_args()
    take(args.url, args.out, args.wait_s, args.width, args.height)


if __name__ == "__main__":
    main()
