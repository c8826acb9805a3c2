"""A shop: a proxy whose pool `web` runs releases on disk, as deployments make them, and what is asked of it.

The code of a release is one file, `shop.py`, run as a program; `program` writes it for the backends that are at hand.
Everything here waits for a fact, an event or a line of the log, never for a time.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import AsyncIterator, Collection
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

from tests.support.admin import AdminEvent
from tests.support.hotswap import SOURCES, Hotswap, complete_configuration, run_hotswap
from tests.support.pools import command_pool, demo_pool, listeners
from tests.support.releases import Releases

Json = dict[str, Any]


def program(module: str, *arguments: str, first: str = "") -> str:
    """The source of a release that runs a module of `faulty`, such as `program("faults", "never-ready")`.

    Args:
        module: Its name in that package.
        arguments: Its command line.
        first: Source that runs before it.
    """
    return f"{first}\nfrom faulty.{module} import main\nmain({list(arguments)!r})\n"


PLAIN = program("plain")
"""Well behaved, and there at once."""

BROKEN = program("faults", "dies-at-start", "--seconds", "0")
"""Dies before it serves anything, with a few last words."""


def waits_for(gate: Path, *, then: str = PLAIN) -> str:
    """The source of a release that does nothing until there is a file `gate`."""
    return f"""
import pathlib, time
while not pathlib.Path({str(gate)!r}).exists():
    time.sleep(0.01)
{then}"""


def ready(backend: Json) -> bool:
    """Whether a backend of the status can be claimed."""
    return bool(backend["state"] == "ready" and backend["health"] == "healthy")


class Shop:
    """The running proxy, and the releases of its pool `web`."""

    def __init__(self, hotswap: Hotswap, releases: Releases, extra: str) -> None:
        self.hotswap = hotswap
        self.releases = releases
        self._extra = extra

    def configure(self, text: str = "", **settings: Any) -> None:
        """Give the proxy another definition of the pool to read; `text` is put behind it as it is."""
        config = shop_configuration(self.releases, **settings) + self._extra + text
        self.hotswap.config.write_text(complete_configuration(config, self.hotswap.directory), encoding="utf-8")

    # Triggers

    async def begin(self, pool: str = "web") -> str:
        """Start a rollout, which must be accepted, and give its id."""
        response = await self.hotswap.admin.reload(pool)
        assert response.status == 202, response
        return str(response.json()["id"])

    async def roll(self, pool: str = "web") -> Json:
        """Start a rollout, which must be accepted, wait until it has ended, and give its report."""
        return await self.hotswap.rollout(pool)

    async def refusal(self, pool: str = "web") -> Json:
        """Ask for a rollout, which must be refused, and give the problem; its `code` says why."""
        response = await self.hotswap.admin.reload(pool)
        assert response.status == 409, response
        problem = response.json()
        assert isinstance(problem, dict)
        return problem

    def signal(self) -> None:
        """Send SIGUSR2 to the proxy."""
        self.hotswap.signal(signal.SIGUSR2)

    async def refused_signal(self) -> Json:
        """Send SIGUSR2, which must be refused, and give the line of the log about it; its `code` says why."""
        received = len(self.records("signal.received"))
        self.signal()
        while True:
            # The log is in order, so what is refused behind the signal's own line is the signal.
            signals = 0
            for record in self.hotswap.records():
                signals += record.get("event") == "signal.received"
                if signals > received and record.get("event") == "rollout.refused":
                    return record
            await self.hotswap.wait_more()

    # What is told

    async def told(self, kind: str, *, after: int = 0, **fields: object) -> list[AdminEvent]:
        """Every event behind a number, up to the first of this kind with these fields, which is waited for."""
        seen: list[AdminEvent] = []
        async with aclosing(self.hotswap.admin.events(after=after)) as events:
            async for event in events:
                seen.append(event)
                if event.kind == kind and fields.items() <= event.data.items():
                    return seen
        raise AssertionError(f"the stream ended before {kind} {fields}")

    async def event(self, kind: str, *, after: int = 0, **fields: object) -> AdminEvent:
        """The first event of this kind with these fields, which is waited for."""
        return (await self.told(kind, after=after, **fields))[-1]

    def records(self, event: str, **fields: object) -> list[Json]:
        """The lines of the log about this event with these fields."""
        return [
            record
            for record in self.hotswap.records()
            if record.get("event") == event and fields.items() <= record.items()
        ]

    async def wait_record(self, event: str, **fields: object) -> Json:
        """The first line of the log about this event with these fields, which is waited for."""
        while not (found := self.records(event, **fields)):
            await self.hotswap.wait_more()
        return found[0]

    def output(self, **fields: object) -> list[str]:
        """What the backends wrote, in its order; fields such as `slot` and `generation` choose."""
        return [record["line"] for record in self.records("backend.output", **fields)]

    async def report(self, rollout: str) -> Json:
        """The report of a rollout, as far as it is."""
        found = await self.hotswap.admin.get(f"/v1/rollouts/{rollout}")
        assert isinstance(found, dict)
        return found

    async def finished(self, rollout: str) -> Json:
        """The report of a rollout, when it has ended."""
        await self.hotswap.wait_until(lambda: self._ended(rollout))
        return await self.hotswap.logged(await self.report(rollout))

    async def _ended(self, rollout: str) -> bool:
        return bool((await self.report(rollout))["outcome"] != "running")

    # What is there

    async def backends(self, pool: str = "web") -> list[Json]:
        """Every living backend, by slot; a slot has two while one replaces the other."""
        return await self.hotswap.backends(pool)

    async def in_slot(self, slot: int, state: str = "ready", pool: str = "web") -> Json:
        """The one backend of a slot that is in this state."""
        (found,) = [one for one in await self.backends(pool) if (one["slot"], one["state"]) == (slot, state)]
        return found

    async def pids(self, pool: str = "web") -> dict[int, int]:
        """The processes that can be claimed, by slot."""
        return {one["slot"]: one["pid"] for one in await self.backends(pool) if ready(one)}

    async def generations(self, pool: str = "web") -> dict[int, int]:
        """The generations that can be claimed, by slot."""
        return {one["slot"]: one["generation"] for one in await self.backends(pool) if ready(one)}

    async def full(self, *, without: Collection[int] = ()) -> None:
        """Block until every slot of every pool can be claimed, and none of these processes is in one."""

        async def settled() -> bool:
            # Both questions of one and the same status: a death may come in between.
            pools = (await self.hotswap.status())["pools"].values()
            slots = [slot["backends"] for pool in pools for slot in pool["slots"]]
            gone = all(backend["pid"] not in without for backends in slots for backend in backends)
            return gone and all(any(map(ready, backends)) for backends in slots)

        await self.hotswap.wait_until(settled)

    async def all_in_flight(self, pool: str = "web") -> None:
        """Block until there is something inside each backend."""

        async def inside() -> bool:
            return all(backend["in_flight"] for backend in await self.backends(pool))

        await self.hotswap.wait_until(inside)

    async def in_flight(self, number: int = 1, pool: str = "web") -> Json:
        """A backend with so many exchanges inside, which is waited for."""
        found: list[Json] = []

        async def inside() -> bool:
            found[:] = [one for one in await self.backends(pool) if one["in_flight"] >= number]
            return bool(found)

        await self.hotswap.wait_until(inside)
        return found[0]


def shop_configuration(releases: Releases, **settings: Any) -> str:
    """A listener, a route and the pool `web`; `settings` are those of the pool, with an `app` for uvicorn."""
    directory = releases.current
    if "app" in settings:
        return listeners() + demo_pool(directory.parent, directory=directory, **settings)
    environment = {"PYTHONPATH": SOURCES, **settings.pop("environment", {})}
    command = [sys.executable, "shop.py"]
    return listeners() + command_pool(directory, command=command, environment=environment, **settings)


@asynccontextmanager
async def run_shop(
    directory: Path,
    source: str = PLAIN,
    *,
    files: dict[str, str] | None = None,
    extra: str = "",
    wait_ready: bool = True,
    **settings: Any,
) -> AsyncIterator[Shop]:
    """Deploy a first release and run a proxy with it for the time of the block.

    Args:
        directory: Where everything is.
        source: The release's code.
        files: Further files of the release, with their content.
        extra: Further tables of the configuration.
        wait_ready: Whether the block begins only when every slot is ready.
        settings: Keys of the pool.
    """
    releases = Releases(directory)
    releases.deploy(source, files=files)
    config = shop_configuration(releases, **settings) + extra
    async with run_hotswap(config, directory, wait_ready=wait_ready) as hotswap:
        yield Shop(hotswap, releases, extra)
