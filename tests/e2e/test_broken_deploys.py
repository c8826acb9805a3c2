"""New code that does not work is deployed under load: the clients do not notice, the operator is told everything."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.support.clients import SHORT_KINDS
from tests.support.hotswap import Hotswap, run_hotswap
from tests.support.load import run_load
from tests.support.pools import demo_pool, listeners
from tests.support.releases import Releases

IMPORT_ERROR = "import a_module_that_nobody_wrote\n"

EXITS = """
import sys, time
print("loading the catalogue", flush=True)
time.sleep(1)
print("cannot find the table of orders", flush=True)
sys.exit(3)
"""

ANSWERS_500 = """
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        return await send({"type": "lifespan.shutdown.complete"})
    print("the settings are incomplete", flush=True)
    await send({"type": "http.response.start", "status": 500, "headers": []})
    await send({"type": "http.response.body", "body": b"out of order"})
"""

NEVER_ANSWERS = """
import asyncio
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        print("waiting for the lock of the cache", flush=True)
        return await send({"type": "lifespan.startup.complete"})
    await asyncio.sleep(3600)
"""


async def releases_in_use(hotswap: Hotswap) -> set[str]:
    """Which releases answer: asked over fresh connections until both backends must have had their turn."""
    return {(await hotswap.fetch("/whoami")).expect().json()["release"] for _ in range(8)}


async def ready_backends(hotswap: Hotswap) -> int:
    """How many backends can be claimed."""
    return sum(backend["state"] == "ready" and backend["health"] == "healthy" for backend in await hotswap.backends())


@pytest.mark.fail_after(90)
@pytest.mark.parametrize(
    ("source", "last_words"),
    [
        pytest.param(IMPORT_ERROR, "a_module_that_nobody_wrote", id="import error"),
        pytest.param(EXITS, "cannot find the table of orders", id="exits after 1 s"),
        pytest.param(ANSWERS_500, "the settings are incomplete", id="listens but answers 500"),
        pytest.param(NEVER_ANSWERS, "waiting for the lock of the cache", id="never answers"),
    ],
)
async def test_broken_code_fails_the_rollout_and_no_request(tmp_path: Path, source: str, last_words: str):
    """Exit code 4 with the last words of the backend, pool locked, no respawn until unlock repairs it."""
    releases = Releases(tmp_path)
    good = releases.deploy()
    config = listeners() + demo_pool(tmp_path, app="shop:app", directory=releases.current, start_timeout="4s")
    async with run_hotswap(config, tmp_path) as hotswap:
        before = {backend["pid"] for backend in await hotswap.backends()}

        async with run_load({"plain": await hotswap.target()}, kinds=SHORT_KINDS) as load:
            await load.wait_turns(5)
            releases.deploy(source)
            failed = await hotswap.command("reload", "web")
            await load.wait_turns(20)
        load.assert_unharmed()
        load.assert_ledger(tmp_path / "notes.sqlite3")
        assert failed.code == 4, failed
        assert last_words in failed.stdout + failed.stderr, failed

        # Everything is as it was, but locked.
        assert {backend["pid"] for backend in await hotswap.backends()} == before
        assert await ready_backends(hotswap) == 2
        assert await releases_in_use(hotswap) == {good}
        assert (await hotswap.pool())["locked"]
        refused = await hotswap.command("reload", "web")
        assert refused.code == 3, refused
        assert "pool-locked" in refused.stdout + refused.stderr, refused

        # A crash is not answered with a respawn now, and is told.
        (victim, *_) = await hotswap.backends()
        written = len(hotswap.lines)
        os.kill(victim["pid"], signal.SIGKILL)
        await hotswap.wait_line("backend.not_respawned", "unlock", after=written)
        assert await ready_backends(hotswap) == 1
        assert await releases_in_use(hotswap) == {good}
        assert [backend["slot"] for backend in await hotswap.backends()] == [1 - victim["slot"]]

        # Unlocked, the slot is filled from the release that worked; the repaired code can be rolled out.
        unlocked = await hotswap.command("unlock", "web")
        assert unlocked.code == 0, unlocked
        await hotswap.wait_until(lambda: both_ready(hotswap))
        assert await releases_in_use(hotswap) == {good}
        repaired = releases.deploy()
        done = await hotswap.command("reload", "web")
        assert done.code == 0, done
        assert await releases_in_use(hotswap) == {repaired}


async def both_ready(hotswap: Hotswap) -> bool:
    """Whether both slots can be claimed again."""
    return await ready_backends(hotswap) == 2
