"""Pictures of the page for the documentation: `python -m docs.tools.page_pictures` takes them anew.

A proxy with three demo apps runs under a light load, is rolled, and is given a release that does not start.
"""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import trio

from tests.support.browser import DESKTOP, PHONE, Browser, open_browser
from tests.support.client import Target, fetch
from tests.support.hotswap import REPOSITORY, Hotswap, run_hotswap
from tests.support.pools import demo_pool, listeners
from tests.support.releases import Releases

PICTURES = REPOSITORY / "docs" / "images"

BEFORE = 95.0
"""Seconds of traffic before the first rollout, so that the charts have something to show."""


async def browse(target: Target) -> None:
    """Be some readers and a few slow ones."""
    while True:
        path = "/slow?seconds=0.4" if random.random() < 0.02 else random.choice(["/whoami", "/", "/notes"])
        try:
            await fetch(target, path)
        except (OSError, trio.BrokenResourceError):
            pass
        await trio.sleep(random.expovariate(22))


async def linger(target: Target) -> None:
    """Be readers who take their time, so that every drain has something to wait for."""
    async with trio.open_nursery() as nursery:
        while True:
            nursery.start_soon(fetch, target, "/slow?seconds=7")
            await trio.sleep(0.8)


async def take_pictures(hotswap: Hotswap, browser: Browser, releases: Releases) -> None:
    """Take every picture, from calm to locked."""
    target = await hotswap.target()
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(browse, target)
        await trio.sleep(BEFORE)
        nursery.start_soon(linger, target)
        await trio.sleep(8)
        await browser.press("Reload web")
        await browser.wait("document.querySelectorAll('.turn.done').length >= 1")
        await browser.wait("document.querySelector('.turn.draining .words')?.textContent.includes('in flight')")
        await trio.sleep(1.5)
        await browser.picture(PICTURES / "page-rollout.png")
        await browser.look(size=PHONE, dark=True)
        await trio.sleep(0.5)
        await browser.picture(PICTURES / "page-rollout-phone.png")
        await browser.look(size=DESKTOP, dark=True)
        await browser.wait("document.querySelector('.report .done')", seconds=90)
        await trio.sleep(5)
        releases.deploy("import the_library_of_last_week\n")
        await browser.press("Reload web")
        await browser.wait("document.querySelector('.notice.bad')")
        await browser.wait("document.querySelectorAll('.report').length === 2")
        await browser.ask("document.querySelectorAll('.report')[1].open = true")
        await browser.press("Reload web")
        await browser.wait("document.querySelector('.answer.refused')")
        await trio.sleep(1)
        await browser.picture(PICTURES / "page-failed-dark.png")
        nursery.cancel_scope.cancel()


async def main() -> None:
    """Run the proxy and the browser."""
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="shop-") as folder:
        directory = Path(folder)
        releases = Releases(directory)
        releases.deploy()
        admin = f'[admin]\nbind = ["127.0.0.1:0", "unix:{directory}/admin.sock"]\n'
        pool = demo_pool(
            directory, app="shop:app", directory=releases.current, boot_seconds=1.5, drain_timeout="12s", size=3
        )
        async with open_browser() as browser, run_hotswap(admin + listeners() + pool, directory) as hotswap:
            await browser.open(await hotswap.page())
            await take_pictures(hotswap, browser, releases)


if __name__ == "__main__":
    trio.run(main)
