"""The page in a real browser: through a rollout, a failed one and a lost proxy, on every kind of screen."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from tests.support.browser import DESKTOP, PHONE, Browser, open_browser
from tests.support.client import open_connection
from tests.support.fake_runtime import CONFIGURATION, open_fake_proxy
from tests.support.hotswap import Hotswap, run_hotswap
from tests.support.pools import demo_pool, listeners
from tests.support.releases import Releases

pytestmark = pytest.mark.fail_after(120)

ESCAPE, TAB, ENTER = "\ue00c", "\ue004", "\ue007"

SCREENS = pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
SCHEMES = pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])


@asynccontextmanager
async def open_page(
    tmp_path: Path, *, size: tuple[int, int] = DESKTOP, dark: bool = False
) -> AsyncIterator[tuple[Hotswap, Browser, Releases]]:
    """Run a proxy with two demo apps and look at its page."""
    releases = Releases(tmp_path)
    releases.deploy()
    admin = f'[admin]\nbind = ["127.0.0.1:0", "unix:{tmp_path}/admin.sock"]\n'
    pool = demo_pool(tmp_path, app="shop:app", directory=releases.current)
    async with (
        open_browser(size=size, dark=dark) as browser,
        run_hotswap(admin + listeners() + pool, tmp_path) as hotswap,
    ):
        await browser.open(await hotswap.page())
        await browser.wait("document.querySelectorAll('.slots .ready').length === 2")
        yield hotswap, browser, releases


async def assert_fits(browser: Browser) -> None:
    """Nothing sticks out of the screen to the right."""
    width, room = await browser.ask(
        "const root = document.documentElement; return [root.scrollWidth, root.clientWidth]"
    )
    assert width <= room


async def assert_no_complaints(browser: Browser) -> None:
    """No script has failed and the policy has refused nothing."""
    complaints = await browser.complaints()
    # A refusal of the proxy is a 409, which the console notes whatever the page does.
    assert [one for one in complaints if "409" not in one] == []


async def assert_no_script_failed(browser: Browser) -> None:
    """As above, where the proxy was not there for a moment: what could not be loaded then is no fault of the page."""
    complaints = await browser.complaints()
    assert [one for one in complaints if "409" not in one and "net::ERR" not in one] == []


@SCREENS
@SCHEMES
async def test_a_rollout_is_drawn_as_it_happens(tmp_path: Path, size: tuple[int, int], dark: bool) -> None:
    """Slot by slot, with what holds its drain and how long that may take; at the end there is its report."""
    async with (
        open_page(tmp_path, size=size, dark=dark) as (hotswap, browser, _),
        open_connection(await hotswap.target()) as one,
        open_connection(await hotswap.target()) as other,
    ):
        ground = await browser.ask("return getComputedStyle(document.documentElement).backgroundColor")
        assert (sum(map(int, ground.removeprefix("rgb(").rstrip(")").split(","))) < 200) is dark
        for client in (one, other):
            await client.send_head("POST", "/upload", headers=[("Transfer-Encoding", "chunked")])
            await client.send_body(b"as long as it takes")
        while sum([backend["in_flight"] for backend in await hotswap.backends()]) < 2:
            await trio.sleep(0.02)
        await browser.press("Reload web")
        await browser.wait("document.querySelector('.pool .answer')?.textContent.includes('Accepted: rollout r1')")
        draining = "document.querySelector('.turn.draining .words')?.textContent"
        await browser.wait(f"{draining}?.match(/1 in flight, .* s left/)")
        await browser.wait("document.querySelector('.slots .draining')")
        assert "POST /upload from 127.0.0.1" in await browser.text()
        assert await browser.ask("return document.querySelectorAll('.turn.pending').length") == 1
        assert await browser.ask("return document.querySelectorAll('.turn.draining rect.fresh').length") == 1
        assert await browser.ask("return document.title") == "▸ web · hotswap"
        await assert_fits(browser)
        for client in (one, other):
            await client.send_end()
        await browser.wait("document.querySelector('.report .done')")
        assert await browser.ask("return document.getElementById('news').textContent") == "Rollout r1 of web is done"
        await browser.ask("document.querySelector('.report').open = true")
        text = await browser.text()
        assert "2 of 2 slots" in text
        assert "1 → 2" in text
        assert "longest delay" in text
        await browser.wait(
            "[...document.querySelectorAll('td[data-label=gen]')].every((one) => one.textContent === '2')"
        )
        await assert_fits(browser)
        await assert_no_complaints(browser)


@SCREENS
async def test_a_failed_rollout_says_why_and_what_is_refused_now(tmp_path: Path, size: tuple[int, int]) -> None:
    """With the last words of the backend, the code of the refusal, and the button that ends it."""
    async with open_page(tmp_path, size=size, dark=True) as (_, browser, releases):
        releases.deploy("import a_module_that_nobody_wrote\n")
        await browser.press("Reload web")
        await browser.wait("document.querySelector('.notice.bad')?.textContent.includes('Locked')")
        await browser.wait("document.querySelector('.report .failed')")
        await browser.press("Reload web")
        await browser.wait("document.querySelector('.answer.refused code')?.textContent === 'pool-locked'")
        await browser.ask("document.querySelector('.report').open = true")
        assert "a_module_that_nobody_wrote" in await browser.text()
        assert await browser.ask("return document.querySelector('.notice.bad details').open")
        assert "ModuleNotFoundError" in await browser.ask("return document.querySelector('.notice.bad pre').innerText")
        main = await browser.ask("return [...document.querySelectorAll('button.main')].map((one) => one.textContent)")
        assert main == ["Unlock"]
        await assert_fits(browser)
        await browser.press("Unlock web")
        await browser.wait("!document.querySelector('.notice.bad')")
        await browser.wait("document.querySelectorAll('.slots .ready').length === 2")
        await assert_no_complaints(browser)


DOWN = """
[listeners.secure]
bind = ["127.0.0.1:0", "unix:{directory}/s.sock"]
tls = {{ self_signed = ["shop.example"] }}

[[routes]]
hosts = ["api.example"]
path = "/v2"
pool = "api"

[pools.api]
server = "uvicorn"
app = "a_module_that_nobody_wrote:app"
directory = "{directory}"
size = 1
health = {{ interval = "200ms" }}
"""


PLAIN_APP = """
async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"here"})
"""


@SCREENS
async def test_a_pool_that_is_down_says_why_and_what_it_is_started_from(tmp_path: Path, size: tuple[int, int]) -> None:
    """With the next try; beside it what each pool answers, listeners as links, and certificates until when."""
    admin = f'[admin]\nbind = ["127.0.0.1:0", "unix:{tmp_path}/admin.sock"]\n'
    releases = Releases(tmp_path)
    releases.deploy()
    pool = demo_pool(tmp_path, app="shop:app", directory=releases.current, size=1)
    # Its second release repairs it, and no further try of the first one does.
    for number in (1, 2):
        (tmp_path / f"api-{number}").mkdir()
    (tmp_path / "api-2" / "a_module_that_nobody_wrote.py").write_text(PLAIN_APP)
    current = tmp_path / "api"
    current.symlink_to("api-1")
    text = admin + listeners() + pool + DOWN.format(directory=current)
    async with open_browser(size=size) as browser, run_hotswap(text, tmp_path, wait_ready=False) as hotswap:
        await browser.open(await hotswap.page())
        error = "document.querySelector('[data-pool-name=api] .why.error')?.textContent"
        await browser.wait(f"/a_module_that_nobody_wrote.*failed starts in a row.*next try in/.test({error})")
        release = "document.querySelector('[data-pool-name=api] [data-label=release]')"
        assert await browser.ask(f"return {release}.title") == str(tmp_path / "api-1")
        assert await browser.ask(f"return {release}.textContent") == "api-1"
        web = "document.querySelector('[data-pool-name=web]')"
        await browser.wait(f"{web}.querySelector('.ready')")
        assert not await browser.ask(f"return {web}.querySelector('.why.error')")
        assert await browser.ask(f"return {web}.querySelector('[data-label=release]').textContent") == "release-1"
        seen = await browser.text()
        assert "answers api.example/v2" in seen
        assert "shop.example" in seen
        links = await browser.ask("return [...document.querySelectorAll('#listeners a')].map((one) => one.href)")
        shown = (await hotswap.status())["listeners"]
        assert links == [url for listener in shown.values() for url in listener["urls"]]
        assert {link.partition(":")[0] for link in links} == {"http", "https"}
        assert await browser.ask("return document.querySelector('#listeners td[data-label=ends][title]').textContent")
        # No path, however long, makes a column of letters out of itself.
        assert await browser.ask(
            "return [...document.querySelectorAll('#head span, .slots td > span, .listeners a, .listeners td > span')]"
            ".every((one) => one.getClientRects().length <= 2)"
        )
        assert await browser.ask(
            "return [...document.querySelectorAll('#events b')].every((one) => !one.textContent.includes('.'))"
        )
        await browser.wait("document.getElementById('events').textContent.includes('Backend did not start')")
        await assert_fits(browser)
        # And this is repaired here, by deploying: nothing serves that a reload could lose.
        current.unlink()
        current.symlink_to("api-2")
        await browser.press("Reload api")
        await browser.wait("document.querySelector('[data-pool-name=api] .answer')?.textContent.includes('Accepted')")
        await browser.wait("document.querySelector('[data-pool-name=api] .slots .ready')")
        await browser.wait(f"!{error}")
        assert (await hotswap.pool("api"))["slots"][0]["last_error"] is None
        await assert_no_complaints(browser)


async def test_a_chart_tells_its_value_under_the_pointer(tmp_path: Path) -> None:
    """Of the second that the pointer is at, with its unit; nothing is shown beside it."""
    move = (
        "const box = document.querySelector(arguments[0]).getBoundingClientRect(); const at = {bubbles: true, "
        "clientX: box.right - arguments[1] * box.width, clientY: box.top + 5}; "
        "document.querySelector(arguments[0]).dispatchEvent(new PointerEvent('pointermove', at)); "
        "const label = document.getElementById('pointer'); return label.hidden ? null : label.textContent"
    )
    chart = "tr[data-key=all] svg.chart[data-quantity='0']"
    async with open_page(tmp_path) as (hotswap, browser, _):
        for _ in range(5):
            (await hotswap.fetch("/whoami")).expect()
        await browser.wait(f"document.querySelector(\"{chart}\")?.querySelector('.bars').getAttribute('d')")
        values = {await browser.ask(move, chart, second / 120) for second in range(12)}
        numbers = [value.split(": ")[1] for value in values]
        assert all(number.endswith(" requests/s") for number in numbers)
        assert any(number[0] != "0" for number in numbers), numbers
        latencies = {await browser.ask(move, chart.replace("'0'", "'1'"), second / 120) for second in range(12)}
        assert any("ms p50" in latency for latency in latencies), latencies
        assert await browser.ask(move, "h1", 0) is None


async def test_orders_that_hold_traffic_up_ask_once_more_and_tell_what_they_did(tmp_path: Path) -> None:
    """Pause and drain want a second press; Escape takes the first one back."""
    async with open_page(tmp_path) as (hotswap, browser, _):
        await browser.press("Pause web")
        await browser.wait("document.querySelector('button.armed')?.textContent === 'Hold requests for web?'")
        await browser.keys(ESCAPE)
        await browser.wait("!document.querySelector('button.armed')")
        assert not (await hotswap.pool())["paused"]
        await browser.press("Pause web")
        await browser.press("Hold requests for web?")
        await browser.wait("document.querySelector('.notice.warn')?.textContent.includes('Paused')")
        assert (await hotswap.pool())["paused"]
        (await hotswap.admin.call("POST", "/v1/pools/web/pause", {"page": "<h1>soon</h1>"})).expect()
        answered = "requests are answered 503 with a page until it is resumed"
        await browser.wait(f"document.querySelector('.notice.warn')?.textContent.includes('{answered}')")
        await browser.wait("document.body.innerText.includes('answer 503 with a page')")
        await browser.press("Resume web")
        await browser.wait("!document.querySelector('.notice.warn')")
        await browser.press("Drain slot 0 of web")
        await browser.press("Drain slot 0?")
        await browser.wait("document.querySelector('.slots .draining')")
        await browser.press("Drain slot 1 of web")
        await browser.press("Drain slot 1?")
        await browser.wait("document.querySelector('.answer.refused')")
        await browser.press("Readmit slot 0 of web")
        await browser.wait("document.querySelectorAll('.slots .ready').length === 2")


async def test_everything_can_be_reached_by_keyboard_and_keeps_the_focus(tmp_path: Path) -> None:
    """The focus can be seen, and a page that changes under it does not take it away."""
    async with open_page(tmp_path) as (_, browser, _):
        names = []
        for _ in range(7):
            await browser.keys(TAB)
            name, outline = await browser.ask(
                "const one = document.activeElement; return [one.getAttribute('aria-label') ?? one.textContent, "
                "getComputedStyle(one).outlineStyle]"
            )
            assert outline == "solid"
            names.append(name)
        assert names[:4] == ["Skip to the pools", "Reload every pool", "Reload web", "Pause web"]
        assert names[4:6] == ["Drain slot 0 of web", "Drain slot 1 of web"]
        await browser.ask("document.querySelector('[aria-label=\"Reload web\"]').focus()")
        await browser.keys(ENTER)
        await browser.wait("document.querySelector('.report .done')", seconds=40)
        assert await browser.ask("return document.activeElement.getAttribute('aria-label')") == "Reload web"
        unnamed = await browser.ask(
            "return [...document.querySelectorAll('button, [role=img], table')].filter((one) => "
            "!(one.getAttribute('aria-label') ?? one.caption?.textContent ?? one.textContent)).length"
        )
        assert unnamed == 0
        assert await browser.ask("return document.querySelectorAll('[role=status], [role=alert]').length") >= 3


async def test_a_lost_proxy_is_admitted_and_found_again(tmp_path: Path) -> None:
    """It says of when the picture is, allows no orders, and goes on by itself."""
    async with open_page(tmp_path) as (hotswap, browser, _):
        hotswap.signal(signal.SIGSTOP)
        try:
            await browser.wait("document.querySelector('#lost .notice')?.textContent.includes('Connection lost')")
            assert await browser.ask("return document.title") == "✕ hotswap"
            assert await browser.ask(
                "return document.querySelectorAll('#pools button:not([aria-disabled])').length === 0"
            )
            assert await browser.ask("return document.querySelectorAll('.slots .ready').length") == 2
        finally:
            hotswap.signal(signal.SIGCONT)
        await browser.wait("!document.querySelector('#lost .notice')", seconds=30)
        await browser.wait("document.querySelector('.link').textContent.includes('live')")
        await browser.press("Reload web")
        await browser.wait("document.querySelector('.report .done')", seconds=40)


async def test_after_a_takeover_it_goes_on_with_the_new_process(tmp_path: Path) -> None:
    """By itself: the page shows the new process, misses no event, and its buttons work."""
    async with open_page(tmp_path) as (hotswap, browser, _):
        process = f"process {hotswap.pid}"
        assert process in await browser.text()
        ran = await hotswap.command("takeover", "--probation", "500ms", "--drain-timeout", "1s")
        assert ran.code == 0, ran.stderr
        successor = ran.stderr.split()[1]
        await browser.wait(f"document.getElementById('head').textContent.includes('process {successor}')")
        await browser.wait("document.querySelector('.link').textContent.includes('live')")
        await browser.wait("!document.querySelector('#lost .notice')")
        await browser.press("Reload web")
        await browser.wait("document.querySelector('.report .done')", seconds=40)
        await assert_no_script_failed(browser)
        stopped = await hotswap.command("stop")
        assert stopped.code == 0, stopped.stderr


async def test_with_a_token_the_page_asks_for_it(tmp_path: Path) -> None:
    """A wrong one is asked for again; the right one is sent with every call, the stream of events among them."""
    token = tmp_path / "token"
    token.write_text("s3cret\n")
    token.chmod(0o600)
    text = CONFIGURATION.replace("[admin]", f'[admin]\ntoken_file = "{token}"')
    async with open_browser() as browser, open_fake_proxy(text) as proxy:
        await browser.open(proxy.url)
        for given in ("wrong", "s3cret"):
            await browser.wait("document.getElementById('token').open")
            await browser.ask("document.getElementById('token-value').focus()")
            await browser.keys(given, ENTER)
        await browser.wait("document.querySelector('.pool')")
        await browser.wait("document.querySelector('.link').textContent.includes('live')")
        proxy.runtime.events.publish("pool.paused", pool="web")
        await browser.wait("document.getElementById('events').textContent.includes('Pool paused')")
        assert not await browser.ask("return document.getElementById('token').open")


LATE_ANSWER = """
const { Connection } = await import("/page/connection.js");
let asked = 0;
const connection = new Connection({ changed() {}, event() {}, wants() { asked++; } });
connection.token = "first";
const real = window.fetch;
let answer;
window.fetch = () => new Promise((resolve) => { answer = resolve; });
const call = connection.get("/v1/status").catch(() => {});
connection.token = GIVEN;
answer(new Response("{}", { status: 401 }));
await call;
window.fetch = real;
return asked;
"""


async def test_a_late_answer_to_a_call_with_an_older_token_asks_for_none() -> None:
    """Whoever has just given the right one is not asked again."""
    async with open_browser() as browser, open_fake_proxy() as proxy:
        await browser.open(proxy.url)
        for given, asked in (("first", 1), ("second", 0)):
            late = LATE_ANSWER.replace("GIVEN", json.dumps(given))
            assert await browser.ask(f"return (async () => {{ {late} }})()") == asked


async def test_what_backends_and_clients_say_stays_text(tmp_path: Path) -> None:
    """Markup in a reason, an event or a request line is shown, not obeyed."""
    async with open_browser() as browser, open_fake_proxy() as proxy:
        proxy.runtime.pool("web").lock("<img src=x onerror='document.title=1'><b>bold</b>")
        proxy.runtime.events.publish("pool.locked", pool="web", reason="<script>document.title=2</script>")
        await browser.open(proxy.url)
        await browser.wait("document.querySelector('.notice.bad')?.textContent.includes('<b>bold</b>')")
        await browser.wait("document.getElementById('events').textContent.includes('<script>')")
        assert await browser.ask("return document.querySelectorAll('#pools img, b b, #events script').length") == 0
        assert await browser.ask("return document.title") == "hotswap"


async def test_an_event_is_told_without_the_names_of_its_fields() -> None:
    """A duration, a number of failures and a list speak for themselves; a list with nothing in it is not there."""
    async with open_fake_proxy() as proxy, open_browser() as browser:
        await browser.open(proxy.url)
        proxy.runtime.events.publish("config.applied", changes=[])
        proxy.runtime.events.publish("slot.recovered", pool="web", slot=0, crashes=8)
        proxy.runtime.events.publish("rollout.done", pool="web", rollout="r1", seconds=1.9)
        told = "return [...document.querySelectorAll('#events li')].map((one) => [...one.querySelectorAll('b, span')]"
        await browser.wait("document.querySelectorAll('#events li').length >= 3")
        assert (await browser.ask(f"{told}.map((part) => part.textContent))"))[:3] == [
            ["Rollout done", "web, r1, 1.9 s"],
            ["Slot well again", "web, slot 0, after 8 failures"],
            ["Configuration applied", ""],
        ]
