"""Proxies that take over from each other: the first is started as any, the others start each other.

`run_chain` is `run_hotswap` for a test that replaces the proxy itself. The process that was started ends when
another one has everything; who serves is learned from the admin API, and whoever is left at the end is stopped.
"""

from __future__ import annotations

import os
import signal
import stat
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import trio

from tests.support.client import Response
from tests.support.hotswap import REPOSITORY, Hotswap, children, command_lines, living, run_hotswap, wait_gone

PROBATION = "200ms"
DRAIN_TIMEOUT = "4s"


class Chain:
    """The processes of one proxy.

    Attributes:
        hotswap: the first of them, with the admin API of whoever serves.
        directory: where its configuration and state are.
    """

    def __init__(self, hotswap: Hotswap) -> None:
        self.hotswap = hotswap
        self.directory = hotswap.directory

    async def order(self, **query: object) -> Response:
        """Ask for a takeover, and wait for the answer."""
        parameters = {"probation": PROBATION, "drain_timeout": DRAIN_TIMEOUT, **query}
        return await self.hotswap.admin.call("POST", f"/v1/takeover?{urlencode(parameters)}")

    async def take_over(self, **query: object) -> dict[str, Any]:
        """Ask for a takeover that must come about; gives the result."""
        response = await self.order(**query)
        assert response.status == 200, (response.status, response.body)
        found = response.json()
        assert isinstance(found, dict)
        assert found["outcome"] == "done"
        return found

    async def fail_over(self, **query: object) -> dict[str, Any]:
        """Ask for a takeover that must not come about; gives the problem."""
        response = await self.order(**query)
        assert response.status >= 400, (response.status, response.body)
        found = response.json()
        assert isinstance(found, dict)
        return found

    async def serving(self) -> int:
        """The process that serves, by its own word."""
        return int((await self.hotswap.status())["pid"])

    async def backends(self) -> dict[int, int]:
        """Generations of the backends, by process."""
        return {backend["pid"]: backend["generation"] for backend in await self.hotswap.backends()}

    async def wait_alone(self) -> dict[str, Any]:
        """Block until every process before the one that serves is gone; gives its status."""
        while True:
            with suppress(OSError, trio.BrokenResourceError):
                status = await self.hotswap.status()
                if status["predecessors"] == 0 and status["takeover"] is None:
                    return status
            await trio.sleep(0.05)

    def faulty(self, place: str, what: str = "kill") -> Path:
        """A new version that has an accident at a place, as the new process or as the old one of the next takeover."""
        return self.script(f"fault-{place.replace(':', '-')}", f"export HOTSWAP_FAULT={place}={what}")

    async def take_over_soon(self, **query: object) -> dict[str, Any]:
        """The same right after another one, as soon as that is over."""
        while (response := await self.order(**query)).status == 409:
            assert response.json()["code"] == "takeover-in-progress", response.body
            await trio.sleep(0.01)
        assert response.status == 200, (response.status, response.body)
        return dict(response.json())

    def script(self, name: str, *lines: str, last: str | None = None) -> Path:
        """A program that stands for another version of the proxy."""
        path = self.directory / name
        run = last or f'exec {sys.executable} -m hotswap "$@"'
        path.write_text("\n".join(["#!/bin/sh", *lines, run, ""]), encoding="utf-8")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path

    def processes(self) -> list[int]:
        """The proxies of this chain that live, whichever file of its directory they are configured by."""
        directory = bytes(self.hotswap.config.parent)
        return living(
            pid
            for pid, words in command_lines().items()
            if b"run" in words and any(os.path.dirname(word) == directory for word in words)
        )

    async def stop(self) -> None:
        """Stop whoever serves, by SIGTERM, and wait until every process of the chain is gone."""
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        for pid in self.processes():
            await wait_gone(pid)

    def kill(self) -> None:
        """End by force what a test that failed has left behind; guardians end the backends."""
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
                os.kill(pid, signal.SIGKILL)


def zombies_of(pid: int) -> list[int]:
    """Children of a process that nobody has reaped."""
    return [child for child, state in children(pid).items() if state == "Z"]


async def wait_reaped(pid: int) -> None:
    """Block until a process has no zombies; orphans that came to it are reaped at a second look, half a second later.

    Raises:
        AssertionError: it still has some when that must long be over.
    """
    with trio.move_on_after(10):
        while zombies_of(pid):
            await trio.sleep(0.05)
    assert not zombies_of(pid), f"zombies of {pid}"


@asynccontextmanager
async def run_chain(
    config: str, directory: Path, *, environment: Mapping[str, str] | None = None, launcher: Sequence[str] = ()
) -> AsyncIterator[Chain]:
    """Run a proxy that will be replaced, for the time of the block."""
    chain: Chain | None = None
    try:
        async with run_hotswap(config, directory, stop=False, environment=environment, launcher=launcher) as hotswap:
            chain = Chain(hotswap)
            await hotswap.wait_until(_booted(hotswap))
            yield chain
            with trio.fail_after(40):
                await chain.stop()
    finally:
        if chain is not None:
            chain.kill()


def _booted(hotswap: Hotswap) -> Any:
    async def booted() -> bool:
        return bool(hotswap.written("proxy.ready"))

    return booted


__all__ = ["DRAIN_TIMEOUT", "PROBATION", "REPOSITORY", "Chain", "run_chain", "wait_reaped", "zombies_of"]
