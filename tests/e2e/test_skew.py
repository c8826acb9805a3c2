"""Pages of one release and files of another: visitors load a page, and then what it names, while releases change.

Without `files` one asset request in four is 404 while a rollout runs, because it meets a backend of another release.
"""

from __future__ import annotations

import re
import shutil
from collections import Counter
from pathlib import Path

import pytest
import trio

from tests.support.chain import run_chain
from tests.support.client import Target, fetch
from tests.support.pools import demo_pool, table
from tests.support.releases import Releases

ROLLOUTS = 10
FAILS_AT = 4
"""The rollout whose release serves in one slot, and does not start in the next."""
TAKEOVERS_AT = (4, 7)
"""The rollouts before which the proxy is replaced."""
VISITORS = 6

APP = """
import asyncio, pathlib, sys

HERE = pathlib.Path.cwd()
NAME = (HERE / "RELEASE").read_text()

async def app(scope, receive, send):
    assert scope["type"] == "http"
    body = b""
    if scope["path"] == "/":
        body = f'<script src="/static/app-{NAME}.0123456789ab.js"></script>'.encode()
    found = scope["path"] in ("/", "/healthz")
    fields = [(b"content-type", b"text/html"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200 if found else 404, "headers": fields})
    await send({"type": "http.response.body", "body": body})
"""


def deploy(releases: Releases, number: int, mark: Path) -> str:
    """The next release, each with a script of its own."""
    source = APP
    if number == FAILS_AT:
        source += f"\ntry:\n    open({str(mark)!r}, 'x').close()\nexcept FileExistsError:\n    sys.exit('only one')\n"
    name = f"release-{number + 1}"
    assert releases.deploy(source, files={f"static/app-{name}.0123456789ab.js": f"// {name}"}) == name
    return name


class Visitors:
    """Everybody who looks at the site.

    Attributes:
        answers: to requests for assets, by status and whether it was the asset that the page meant.
        names: of releases whose page somebody has seen.
    """

    def __init__(self, target: Target) -> None:
        self.answers: Counter[tuple[int, bool]] = Counter()
        self.names: set[str] = set()
        self._target = target

    async def load_page(self) -> str:
        """Load the page; gives the path of the asset that it names."""
        found = re.search(rb'src="([^"]+)"', (await fetch(self._target, "/")).expect().body)
        assert found is not None
        path = found[1].decode()
        self.names.add(_release_of(path))
        return path

    async def load_asset(self, path: str) -> None:
        """Load what a page has named."""
        response = await fetch(self._target, path)
        self.answers[response.status, response.body == f"// {_release_of(path)}".encode()] += 1

    async def visit(self) -> None:
        """Load the page, and its asset a moment later, again and again."""
        while True:
            path = await self.load_page()
            await trio.sleep(0.02)
            await self.load_asset(path)


def _release_of(path: str) -> str:
    found = re.search(r"release-\d+", path)
    assert found is not None
    return found[0]


@pytest.mark.fail_after(180)
async def test_no_asset_is_missed_over_ten_rollouts_a_rollback_and_two_takeovers(tmp_path: Path):
    """Whoever loads a page gets its files: at once, and from a tab that was opened two releases ago.

    The deploy script removes what the proxy does not look in any more.
    """
    releases = Releases(tmp_path)
    deploy(releases, 0, tmp_path / "mark")
    config = table("listeners.public", {"bind": ["127.0.0.1:0"]})
    config += '[[routes]]\npool = "web"\n[[routes]]\npath = "/static/"\nfiles = "static"\npool = "web"\n'
    rollout = {"strategy": "surge", "on_failure": "rollback"}
    config += demo_pool(tmp_path, app="shop:app", directory=releases.current, size=4, rollout=rollout)
    tabs: list[str] = []
    async with run_chain(config, tmp_path) as chain, trio.open_nursery() as nursery:
        hotswap = chain.hotswap
        visitors = Visitors(await hotswap.target())
        for _ in range(VISITORS):
            nursery.start_soon(visitors.visit)
        for number in range(1, ROLLOUTS + 1):
            if number in TAKEOVERS_AT:
                await chain.take_over()
            tabs.append(await visitors.load_page())
            name = deploy(releases, number, tmp_path / "mark")
            report = (await hotswap.admin.reload("web", wait=True)).json()
            assert report["outcome"] == ("failed" if number == FAILS_AT else "done"), report
            if number == FAILS_AT:
                assert report["rolled_back"]
                while name not in visitors.names:  # one of its pages was seen, and stays open
                    await trio.sleep(0.01)
                tabs.append(f"/static/app-{name}.0123456789ab.js")
                (tmp_path / "current").unlink()
                (tmp_path / "current").symlink_to(tmp_path / "releases" / f"release-{number}")
            for path in tabs[-2:]:
                await visitors.load_asset(path)
            asked = (await hotswap.pool())["directories"]
            assert len(asked) == min(number + 1, 3), asked
            for directory in (tmp_path / "releases").iterdir():
                if str(directory) not in asked:
                    shutil.rmtree(directory)
        assert len(visitors.names) == ROLLOUTS + 1
        assert visitors.answers.keys() == {(200, True)}, visitors.answers
        assert visitors.answers.total() > ROLLOUTS * VISITORS
        nursery.cancel_scope.cancel()
