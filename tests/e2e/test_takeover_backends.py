"""What becomes of backends that come, die or leave while the proxy is replaced: each ends ready in a slot, or reaped.

Processes are stopped or killed at places of the takeover (`hotswap.control.takeover.fault`), which makes windows of
milliseconds as wide as a test needs them.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.e2e.test_takeover_stalls import below, stopped, wait_stopped
from tests.support.chain import Chain, run_chain, wait_reaped
from tests.support.client import open_connection
from tests.support.hotswap import SOURCES, living, wait_gone
from tests.support.pools import listeners, table
from tests.support.trouble import CutShort

BACKEND = f"echo $$ >> started; while [ -e hold ]; do sleep 0.02; done; exec {sys.executable} -m faulty.plain"
"""Notes its process id, and boots for as long as there is a file `hold`."""


def pool(directory: Path, *, name: str = "web", command: str = BACKEND, **settings: object) -> str:
    """A pool of such backends."""
    values = {
        "server": "command",
        "command": ["/bin/sh", "-c", command],
        "directory": directory,
        "size": 2,
        "environment": {"PYTHONPATH": SOURCES},
        "health": {"interval": "200ms"},
    }
    return table(f"pools.{name}", {**values, **settings})


def started(directory: Path) -> list[int]:
    """Every backend that was ever started there."""
    return [int(line) for line in (directory / "started").read_text(encoding="ascii").split()]


@asynccontextmanager
async def taking_over(chain: Chain) -> AsyncIterator[tuple[int, dict[str, Any]]]:
    """A takeover whose new process has been told to stand still, as it does in the block; gives it, and the answer.

    There is no answer when the old process dies.
    """
    old = await chain.serving()
    answer: dict[str, Any] = {}

    async def order() -> None:
        with suppress(CutShort):
            answer.update((await chain.order()).json())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(order)
        new = 0
        while not (new and stopped(new)):
            await trio.sleep(0.01)
            new = next((pid for pid in chain.processes() if pid != old), 0)
        yield new, answer
        os.kill(new, signal.SIGCONT)


async def wait_whole(chain: Chain, directory: Path) -> None:
    """Block until both slots are filled and nothing else of what was ever started lives."""
    while True:
        known = {backend["pid"] for backend in await chain.hotswap.backends() if backend["state"] == "ready"}
        if len(known) == 2 and set(living(started(directory))) == known:
            return
        await trio.sleep(0.05)


async def crash(chain: Chain) -> None:
    """Have one backend crash, and block until that is known."""
    victim = min(await chain.backends())
    os.kill(victim, signal.SIGKILL)
    while victim in await chain.backends():
        await trio.sleep(0.02)


def faults(*places: str) -> Mapping[str, str]:
    """The environment that orders accidents."""
    return {"HOTSWAP_FAULT": " ".join(places)}


@pytest.mark.fail_after(90)
async def test_a_backend_that_comes_or_dies_in_between_belongs_to_somebody(tmp_path: Path) -> None:
    """Ready between the last changes and COMMIT; dead between STATE and its frame; the old process killed before it."""

    async def ready_in_between(directory: Path) -> None:
        ordered = faults("new:preparing=stop", "old:changes=stop")
        async with run_chain(listeners() + pool(directory), directory, environment=ordered) as chain:
            old = await chain.serving()
            async with taking_over(chain) as (new, answer):
                (directory / "hold").touch()
                await crash(chain)
                while len(started(directory)) < 3:
                    await trio.sleep(0.02)
                os.kill(new, signal.SIGCONT)
                await wait_stopped(old)
                (directory / "hold").unlink()
                os.kill(old, signal.SIGCONT)
            assert answer["outcome"] == "done", answer
            await wait_whole(chain, directory)

    async def crash_in_between(directory: Path) -> None:
        async with run_chain(
            listeners() + pool(directory), directory, environment=faults("new:backends=stop")
        ) as chain:
            async with taking_over(chain) as (_, answer):
                await crash(chain)
            assert answer["outcome"] == "done", answer
            await wait_whole(chain, directory)

    async def old_is_killed(directory: Path) -> None:
        ordered = faults("new:preparing=stop", "old:changes=kill")
        async with run_chain(listeners() + pool(directory), directory, environment=ordered) as chain:
            old = await chain.serving()
            async with taking_over(chain):
                await crash(chain)
                await chain.hotswap.wait_until(chain.hotswap.full)
            await wait_gone(old)
            await wait_whole(chain, directory)

    async with trio.open_nursery() as nursery:
        for number, case in enumerate((ready_in_between, crash_in_between, old_is_killed)):
            nursery.start_soon(case, below(tmp_path, number))


@pytest.mark.fail_after(90)
async def test_backends_on_their_way_out_stay_with_the_old_process_to_their_end(tmp_path: Path) -> None:
    """Of a slot and of a pool that are gone: no takeover waits for them or fails, and they have all of their time."""
    slow = f"trap '' TERM; {sys.executable} -m faulty.plain & child=$!; trap 'sleep 2; kill $child; exit' TERM; wait"
    other = pool(tmp_path, name="other", command="echo $$ >> other; " + slow, stop_timeout="30s", drain_timeout="60s")
    route = '[[routes]]\npath = "/other"\npool = "other"\nstrip_prefix = true\n'
    less = listeners() + pool(tmp_path, size=2, drain_timeout="60s")
    config = listeners() + route + pool(tmp_path, size=3, drain_timeout="60s") + other
    async with run_chain(config, tmp_path) as chain:
        hotswap = chain.hotswap
        for number in (0, 1):
            await hotswap.admin.call("POST", f"/v1/pools/web/slots/{number}/drain")
        async with open_connection(await hotswap.target()) as client:
            await client.send_head("GET", "/stream?lines=400&seconds=60")
            await client.send_end()
            assert (await client.head())[0] == 200
            for number in (0, 1):
                await hotswap.admin.call("POST", f"/v1/pools/web/slots/{number}/readmit")
            (leaving,) = [one["pid"] for one in await hotswap.backends() if one["slot"] == 2]
            removed = [one["pid"] for one in await hotswap.backends("other")]
            hotswap.configure(less)
            await hotswap.admin.call("POST", "/v1/config/reload?wait=true")
            assert (await chain.take_over(drain_timeout="60s"))["outcome"] == "done"
            assert living([leaving])
            assert leaving not in await chain.backends()
        await chain.wait_alone()
        await wait_gone(leaving)
        for pid in removed:
            await wait_gone(pid)
        assert not hotswap.written("backend.killed")
        assert not hotswap.written("backend.drain_timed_out")
        await wait_whole(chain, tmp_path)


@pytest.mark.fail_after(60)
async def test_whatever_a_backend_writes_a_takeover_comes_about(tmp_path: Path) -> None:
    """Its last lines and its status are as long as they like; nothing is left of takeovers that were."""
    talks = "import sys; [print('\u0436' * 4090, flush=True) for _ in range(9)]; sys.stdout.flush()"
    command = f'{sys.executable} -c "{talks}"; ' + BACKEND
    async with run_chain(listeners() + pool(tmp_path, command=command), tmp_path) as chain:
        for _ in range(2):
            await chain.take_over()
        await wait_reaped((await chain.wait_alone())["pid"])
