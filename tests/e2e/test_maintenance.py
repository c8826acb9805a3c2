"""What visitors and programs see of a proxy that cannot answer, or is told not to: real processes, real browsers."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import trio

from hotswap.core.pool.pause_answer import MAX_PAGE_BYTES
from tests.support.browser import PHONE, open_browser
from tests.support.chain import run_chain
from tests.support.client import Response
from tests.support.hotswap import run_hotswap
from tests.support.pools import command_pool, listeners, table

BROWSER = [("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")]
LARGE = ("<title>moved</title>" + "x" * (MAX_PAGE_BYTES - 100)).encode()


def plain(directory: Path, *, static: bool = False) -> str:
    """A pool whose backends boot at once, and perhaps one of an address that answers: its own admin API."""
    routes = 'path = "/closed"\npool = "closed"\n[[routes]]\n' if static else ""
    text = listeners() + command_pool(directory, "faulty.plain", hold_timeout="60s", error_pages="pages")
    if not static:
        return text
    assert "[[routes]]\n" in text
    return text.replace("[[routes]]\n", f"[[routes]]\n{routes}", 1) + table(
        "pools.closed", {"addresses": [f"unix:{directory}/admin.sock"], "health": {"path": "/livez"}}
    )


@pytest.mark.fail_after(90)
async def test_pages_are_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    """By SIGHUP and by `apply`; one that cannot be read leaves all as it was, and a browser is shown what there is."""
    pages = tmp_path / "pages"
    pages.mkdir()
    (pages / "503.html").write_text("<h1>first</h1>")
    async with run_hotswap(plain(tmp_path), tmp_path) as hotswap:

        async def shown(status: int = 503) -> bytes:
            return (await hotswap.fetch("/whoami", headers=BROWSER)).expect(status).body

        (await hotswap.admin.call("POST", "/v1/pools/web/pause", {"answer": 503})).expect()
        assert await shown() == b"<h1>first</h1>"
        generations = (await hotswap.pool())["generation"]
        (pages / "503.html").write_text("<h1>second</h1>")
        (pages / "404.html").write_text("<h1>away</h1>")
        os.kill(hotswap.process.pid, signal.SIGHUP)
        await hotswap.wait_line("error pages of pool web changed")
        assert await shown() == b"<h1>second</h1>"
        (pages / "503.html").write_text("<h1>third</h1>")
        (pages / "404.html").write_bytes(b"\xff")
        applied = await hotswap.command("apply")
        assert applied.code == 2
        assert "pools.web.error_pages must be a directory with pages of HTML in UTF-8" in applied.stderr
        assert f"{hotswap.config}:" in applied.stderr
        assert await shown() == b"<h1>second</h1>"
        (pages / "404.html").unlink()
        assert "error pages of pool web changed" in (await hotswap.command("apply")).stdout
        assert await shown() == b"<h1>third</h1>"
        assert (await hotswap.pool())["generation"] == generations, "no backend is replaced for a page"
        (await hotswap.admin.call("POST", "/v1/pools/web/pause", {"answer": 404})).expect()
        target = await hotswap.target()
        async with open_browser(size=PHONE, dark=True) as browser:
            await browser.look(size=PHONE, dark=True)
            await browser.open(f"{target.url}/whoami")
            assert "Page not found" in await browser.text()
            assert "third" not in await browser.text()
            seen = await browser.ask(
                "const main = document.querySelector('main').getBoundingClientRect();"
                "return {wide: document.documentElement.scrollWidth, left: main.left, right: main.right,"
                " ground: getComputedStyle(document.body).backgroundColor,"
                " card: getComputedStyle(document.querySelector('main')).borderTopLeftRadius}"
            )
            assert seen["wide"] <= PHONE[0]
            assert 0 < seen["left"] < seen["right"] < PHONE[0]
            assert (seen["ground"], seen["card"]) == ("rgb(18, 21, 27)", "16px"), "its style is let through"
            (await hotswap.admin.call("POST", "/v1/pools/web/pause", {"answer": 502})).expect()
            await browser.look(size=PHONE, dark=False)
            await browser.open(f"{target.url}/whoami")
            assert await browser.ask("return getComputedStyle(document.body).backgroundColor") == "rgb(245, 246, 248)"
            # Only what Chromium says of every status of an error is complained about.
            assert all("the server responded with a status of" in one for one in await browser.complaints())
            (await hotswap.admin.call("POST", "/v1/pools/web/resume")).expect()
            await browser.ask("document.querySelector('a').click()")
            await browser.wait("document.body.innerText.includes('pid') && !document.querySelector('main')")


@pytest.mark.fail_after(90)
async def test_an_answer_of_a_pause_survives_a_takeover_and_reaches_the_process_before(tmp_path: Path) -> None:
    """Of pools of both kinds; what the old process holds is answered by it, with the page that the new one is told."""
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "503.html").write_text("<h1>ours</h1>")
    async with run_chain(plain(tmp_path, static=True), tmp_path) as chain:
        hotswap = chain.hotswap
        answers: list[Response] = []

        async def ask() -> None:
            answers.append(await hotswap.fetch("/whoami", headers=BROWSER))

        async def ask_closed() -> Response:
            return await hotswap.fetch("/closed", headers=BROWSER)

        (await hotswap.admin.call("POST", "/v1/pools/web/pause")).expect()
        closed = {"answer": 410, "page": "<h1>gone</h1>"}
        (await hotswap.admin.call("POST", "/v1/pools/closed/pause", closed)).expect()
        assert (await ask_closed()).expect(410).body == b"<h1>gone</h1>"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            while (await hotswap.pool())["held"] != 1:
                await trio.sleep(0.02)
            await chain.take_over(drain_timeout="60s")
            assert (await hotswap.pool("closed"))["answer"] == {"status": 410, "page": True}
            assert (await ask_closed()).expect(410).body == b"<h1>gone</h1>"
            assert not answers
            large = {"answer": 503, "page": LARGE.decode()}
            (await hotswap.admin.call("POST", "/v1/pools/web/pause", large)).expect()
        (answer,) = answers
        assert answer.expect(503).body == LARGE
        assert answer.header("retry-after")
        await chain.take_over_soon()
        assert (await hotswap.fetch("/whoami", headers=BROWSER)).expect(503).body == LARGE
        (await hotswap.admin.call("POST", "/v1/pools/web/pause", {"answer": 503})).expect()
        assert (await hotswap.fetch("/whoami", headers=BROWSER)).expect(503).body == b"<h1>ours</h1>"
        assert (await hotswap.fetch("/whoami")).expect(503).body == b"503 Service Unavailable\n"
        (await hotswap.admin.call("POST", "/v1/pools/web/resume")).expect()
        (await hotswap.fetch("/whoami", headers=BROWSER)).expect()
