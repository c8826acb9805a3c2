"""A headless Chromium that looks at the page as an operator would.

It is driven by selenium over chromedriver, both from the system; nothing is downloaded. Selenium waits in threads, so
every look at it from a trio test goes through `trio.to_thread.run_sync`.
"""

from __future__ import annotations

import base64
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import trio
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from tests.support.tools import require_tool

T = TypeVar("T")

DESKTOP = (1440, 1000)
PHONE = (390, 844)

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--force-device-scale-factor=1",
)


class Browser:
    """One tab."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self._driver = driver

    async def _call(self, work: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(work)

    async def open(self, url: str) -> None:
        """Go to an address and wait until the document is loaded."""
        await self._call(lambda: self._driver.get(url))

    async def ask(self, script: str, *arguments: object) -> Any:
        """Evaluate the body of a function in the page and give what it returns."""
        return await self._call(lambda: self._driver.execute_script(script, *arguments))

    async def wait(self, expression: str, *, seconds: float = 30.0) -> Any:
        """Wait until an expression is true in the page, and give its value; with what is there when it never is."""
        with trio.move_on_after(seconds):
            while True:
                if value := await self.ask(f"return {expression}"):
                    return value
                await trio.sleep(0.05)
        text = await self.ask("return document.body.innerText")
        raise AssertionError(f"never true: {expression}\n{text}")

    async def text(self) -> str:
        """Everything that can be read on it."""
        return str(await self.ask("return document.body.innerText"))

    async def press(self, name: str) -> None:
        """Press the button of this accessible name."""
        found = await self.ask(
            "const found = [...document.querySelectorAll('button')].find((one) => "
            "(one.getAttribute('aria-label') ?? one.textContent) === arguments[0]); found?.click(); return !!found",
            name,
        )
        assert found, f"no button {name!r} on the page:\n{await self.text()}"

    async def keys(self, *keys: str) -> None:
        """Press keys, one after the other, wherever the focus is."""

        def type_them() -> None:
            webdriver.ActionChains(self._driver).send_keys(*keys).perform()

        await self._call(type_them)

    async def look(self, *, size: tuple[int, int] = DESKTOP, dark: bool = False) -> None:
        """Be a screen of this size, with or without a preference for dark."""
        width, height = size
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 700}
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        await self._cdp("Emulation.setDeviceMetricsOverride", metrics)
        await self._cdp("Emulation.setEmulatedMedia", {"features": scheme})

    async def picture(self, path: Path, *, whole: bool = False) -> None:
        """Take a screenshot of what is seen, or of the whole page."""
        shot = await self._cdp("Page.captureScreenshot", {"format": "png", "captureBeyondViewport": whole})
        await trio.Path(path).write_bytes(base64.b64decode(shot["data"]))

    async def complaints(self) -> list[str]:
        """What the console has said since the last time: errors of scripts and refusals of the policy."""
        entries = await self._call(lambda: self._driver.get_log("browser"))
        return [entry["message"] for entry in entries]

    async def _cdp(self, command: str, arguments: dict[str, Any]) -> Any:
        return await self._call(lambda: self._driver.execute_cdp_cmd(command, arguments))


@asynccontextmanager
async def open_browser(
    *, size: tuple[int, int] = DESKTOP, dark: bool = False, flags: Sequence[str] = ()
) -> AsyncIterator[Browser]:
    """Run a browser with a profile of its own, and further flags, while the block runs."""
    chromium = require_tool("chromium", package="chromium")
    driver_path = require_tool("chromedriver", package="chromium-driver")
    profile = tempfile.mkdtemp(prefix="chromium-")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, *flags, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = await trio.to_thread.run_sync(
        lambda: webdriver.Chrome(options=options, service=Service(executable_path=driver_path))
    )
    try:
        browser = Browser(driver)
        await browser.look(size=size, dark=dark)
        yield browser
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(driver.quit)
            shutil.rmtree(profile, ignore_errors=True)
