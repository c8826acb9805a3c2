"""What is down is repaired by deploying: by `reload`, by SIGHUP and by the page, while another pool serves under load.

Two stories. In the first one the pools never came up, because the file names an app that does not exist; in the second
one their release worked once, and then crashes at every start. Three pools are repaired one after the other, each in
another way; nobody stops the proxy, and the pool beside them is not touched.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.chain import run_chain
from tests.support.clients import SHORT_KINDS
from tests.support.hotswap import SOURCES, Hotswap, run_hotswap
from tests.support.load import run_load
from tests.support.pools import command_pool, demo_pool, listeners, table
from tests.support.releases import Releases

SHOP = """
import os, sys

if os.path.exists("../../broken") and {number} == 1:
    sys.exit("the price list is gone")

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({{"type": "lifespan.startup.complete"}})
        await receive()
        return await send({{"type": "lifespan.shutdown.complete"}})
    await send({{"type": "http.response.start", "status": 200, "headers": []}})
    await send({{"type": "http.response.body", "body": b"release {number}"}})
"""

SIZES = {"by-command": 2, "by-signal": 2, "by-page": 1}
"""Slots of the pools that are repaired: one of them has a single slot, for which a reload is else refused."""


def shop(name: str, directory: Path, **settings: object) -> str:
    """A pool of the shop, and the route to it."""
    values = {
        "server": "uvicorn",
        "app": "shop:app",
        "directory": directory,
        "size": SIZES[name],
        "environment": {"PYTHONPATH": SOURCES},
        "health": {"interval": "200ms", "path": f"/{name}"},
    }
    route = f'[[routes]]\npath = "/{name}"\npool = "{name}"\n'
    return route + table(f"pools.{name}", {**values, **settings})


def configuration(directory: Path, shops: Mapping[str, str]) -> str:
    """The demo, which serves under load, and the shops beside it."""
    return listeners() + demo_pool(directory) + "".join(shops.values())


@asynccontextmanager
async def serving_beside(hotswap: Hotswap, data: Path) -> AsyncIterator[None]:
    """Load on the demo while the block runs, which nobody loses anything of, nor any of its processes."""
    before = [backend["pid"] for backend in await hotswap.backends()]
    async with run_load({"plain": await hotswap.target()}, kinds=SHORT_KINDS) as load:
        await load.wait_turns(2)
        yield
        await load.wait_turns(2)
    load.assert_unharmed()
    load.assert_ledger(data / "notes.sqlite3")
    assert [backend["pid"] for backend in await hotswap.backends()] == before


async def all_failed(hotswap: Hotswap, pool: str) -> bool:
    """Whether every slot of a pool has failed to start, and none serves."""
    slots = (await hotswap.pool(pool))["slots"]
    return all(
        slot["failed_starts"] > 0 and not any(one["state"] == "ready" for one in slot["backends"]) for slot in slots
    )


async def all_down(hotswap: Hotswap) -> bool:
    """Whether every slot of the shops has failed to start, and none of them serves."""
    return all([await all_failed(hotswap, name) for name in SIZES])


async def by_command(hotswap: Hotswap, pool: str) -> None:
    """Deploy with the command line, which waits for the end."""
    ran = await hotswap.command("reload", pool)
    assert ran.code == 0, ran


async def by_signal(hotswap: Hotswap, pool: str) -> None:
    """Send SIGHUP, which has no answer but the log."""
    written = len(hotswap.lines)
    hotswap.signal(signal.SIGHUP)
    await hotswap.wait_line('"event": "config.applied"', after=written)
    await hotswap.wait_line('"event": "rollout.done"', f'"pool": "{pool}"', after=written)


async def by_page(hotswap: Hotswap, pool: str) -> None:
    """Make the call that the button of the page makes."""
    answer = await hotswap.admin.reload(pool)
    assert answer.status == 202, answer.body
    await hotswap.wait_line('"event": "rollout.done"', f'"rollout": "{answer.json()["id"]}"')


WAYS: Mapping[str, Callable[[Hotswap, str], Any]] = {
    "by-signal": by_signal,
    "by-command": by_command,
    "by-page": by_page,
}


async def repaired(hotswap: Hotswap, pool: str, release: str) -> None:
    """Every slot of a pool serves the release, at the first answer of the rollout's end."""
    found = await hotswap.backends(pool)
    assert [(one["slot"], one["state"], one["generation"]) for one in found] == [
        (slot, "ready", 2) for slot in range(SIZES[pool])
    ]
    answer = await hotswap.fetch(f"/{pool}")
    assert (answer.status, answer.body.decode()) == (200, release)


@pytest.mark.fail_after(120)
async def test_a_pool_that_never_came_up_is_repaired_by_deploying(tmp_path: Path) -> None:
    """The app had another name in the file; the boot is over without them, and each is repaired in its way."""
    releases = Releases(tmp_path)
    releases.deploy(SHOP.format(number=1))
    shops = {name: shop(name, releases.current, app="shop:ap") for name in SIZES}
    async with run_hotswap(configuration(tmp_path, shops), tmp_path, wait_ready=False) as hotswap:
        await hotswap.wait_line('"event": "proxy.ready"', "by-page")
        await hotswap.wait_until(lambda: all_down(hotswap))
        async with serving_beside(hotswap, tmp_path):
            for number, (name, repair) in enumerate(WAYS.items(), start=1):
                shops[name] = shop(name, releases.current)
                hotswap.configure(configuration(tmp_path, shops))
                await repair(hotswap, name)
                await repaired(hotswap, name, "release 1")
                # Nothing was refused on the way.
                assert [one["id"] for one in (await hotswap.admin.get("/v1/rollouts"))["rollouts"]][-1] == f"r{number}"
        assert await hotswap.admin.ready()
        assert not hotswap.written("rollout.refused")


@pytest.mark.fail_after(120)
async def test_a_pool_whose_release_crashes_at_every_start_is_repaired_by_deploying(tmp_path: Path) -> None:
    """It served once, is pinned, and is given up for the next release; a SIGHUP takes a changed definition for it."""
    releases = Releases(tmp_path)
    releases.deploy(SHOP.format(number=1))
    shops = {name: shop(name, releases.current) for name in SIZES}
    async with run_hotswap(configuration(tmp_path, shops), tmp_path) as hotswap:
        (tmp_path / "broken").touch()
        for name in SIZES:
            for backend in await hotswap.backends(name):
                os.kill(backend["pid"], signal.SIGKILL)
        await hotswap.wait_until(lambda: all_down(hotswap))
        assert not await hotswap.admin.ready()
        # Without a change a SIGHUP rolls nothing, and says what is down and what repairs it.
        hotswap.signal(signal.SIGHUP)
        await hotswap.wait_line("pool.still_down", "hotswap reload by-command")
        applied = await hotswap.command("apply")
        assert all(f"once repaired: hotswap reload {name}\n" in applied.stderr for name in SIZES), applied
        releases.deploy(SHOP.format(number=2))
        async with serving_beside(hotswap, tmp_path):
            for name, repair in WAYS.items():
                if name == "by-signal":
                    shops[name] = shop(name, releases.current, max_in_flight=50)
                    hotswap.configure(configuration(tmp_path, shops))
                await repair(hotswap, name)
                await repaired(hotswap, name, "release 2")
        assert await hotswap.admin.ready()
        assert not hotswap.written("rollout.refused")


@pytest.mark.fail_after(60)
async def test_a_takeover_starts_what_is_down_from_the_new_configuration(tmp_path: Path) -> None:
    """A pool of which anything serves keeps its release, and a locked one waits for `unlock`."""
    gone = ["/bin/sh", "-c", f"test -e broken && exit 1; exec {sys.executable} -m faulty.plain"]

    def configured(**settings: Any) -> str:
        shut = command_pool(tmp_path, "faulty.plain", **settings).replace("[pools.web]", "[pools.shut]")
        down = command_pool(tmp_path, "faulty.plain", **settings).replace("[pools.web]", "[pools.down]")
        return listeners() + command_pool(tmp_path, "faulty.plain") + down + shut

    async with run_chain(configured(command=gone), tmp_path) as chain:
        hotswap = chain.hotswap
        (tmp_path / "broken").touch()
        for name in ("down", "shut"):
            for backend in await hotswap.backends(name):
                os.kill(backend["pid"], signal.SIGKILL)
        await hotswap.wait_until(lambda: all_failed(hotswap, "shut"))
        assert (await hotswap.admin.reload("shut", wait=True)).json()["outcome"] == "failed"
        await hotswap.wait_until(lambda: all_failed(hotswap, "down"))
        hotswap.configure(configured().replace("size = 2", "size = 2\nmax_in_flight = 9"))
        serving = await chain.backends()
        await chain.take_over()

        async def up() -> bool:
            return [one["state"] for one in await hotswap.backends("down")] == ["ready", "ready"]

        await hotswap.wait_until(up)
        status = await chain.wait_alone()
        assert await chain.backends() == serving
        assert status["pools"]["down"]["generation"] == 2
        assert status["pools"]["shut"]["locked"]
        assert await hotswap.backends("shut") == []
        unlocked = await hotswap.command("unlock", "shut")
        assert "hotswap reload shut" in unlocked.stderr, unlocked
        assert (await hotswap.command("reload", "shut")).code == 0
        assert await hotswap.admin.ready()
