"""The whole proxy inside the test's own process, so that a test can call its verbs and look at its parts."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import structlog
import trio

from hotswap.control.configuration.loading import load_configuration
from hotswap.control.process.runtime import Runtime
from tests.support.client import Response, Target, fetch

SECONDS_TO_STOP = 20.0


class RunningRuntime:
    """A proxy that runs in this process.

    Attributes:
        runtime: it.
        parts, orders: what it is made of, and its verbs.
        config: its file, to be rewritten before a reload.
        directory: where that is; the state is elsewhere, because paths of Unix sockets have to be short.
    """

    def __init__(self, runtime: Runtime, config: Path) -> None:
        self.runtime = runtime
        self.parts = runtime.parts
        self.orders = runtime.orders
        self.config = config
        self.directory = config.parent

    def write(self, text: str) -> None:
        """Change the configuration file; the first tables stay."""
        head = self.config.read_text(encoding="utf-8").partition("#---\n")[0]
        self.config.write_text(f"{head}#---\n{text}", encoding="utf-8")

    def kinds(self) -> list[str]:
        """The kinds of every event so far."""
        return [event.kind for event in self.parts.events.recent()]

    def generations(self, pool: str = "web") -> list[int]:
        """The generations in rotation, by slot."""
        backends = sorted(self.parts.pools[pool].core.backends, key=lambda backend: backend.slot)
        return [backend.generation for backend in backends if backend.claimable]

    async def wait(self, condition: Callable[[], bool]) -> None:
        """Block until a condition holds; it is looked at whenever an event was published."""
        with self.parts.events.subscribe() as events:
            while not condition():
                await anext(events)

    async def fetch(self, path: str, *, listener: str = "public") -> Response:
        """One exchange over a fresh connection."""
        return await fetch(self.target(listener), path)

    def target(self, listener: str = "public") -> Target:
        """How to reach a listener."""
        _, _, port = str(self.parts.listeners.bound(listener)[0]).rpartition(":")
        return Target(address=("127.0.0.1", int(port)), host="localhost")


@asynccontextmanager
async def open_runtime(text: str, directory: Path, *, booted: bool = True) -> AsyncIterator[RunningRuntime]:
    """Run a proxy while the block runs, and stop it gracefully at the end.

    Args:
        text: TOML without the tables `[proxy]` and `[admin]`.
        directory: where the file is written.
        booted: whether the block begins only when every pool is ready.
    """
    state = Path(tempfile.mkdtemp(prefix="hotswap-"))
    config = directory / "hotswap.toml"
    config.write_text(
        f'[proxy]\nstate_dir = "{state}"\naccess_log = "off"\n[admin]\nbind = ["unix:{state}/admin"]\n#---\n{text}',
        encoding="utf-8",
    )
    structlog.configure(processors=[_drop])
    try:
        runtime = Runtime(config, load_configuration(config), access=None)
        running = RunningRuntime(runtime, config)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(runtime.serve)
            if booted:
                await running.wait(lambda: runtime.parts.life.booted)
            try:
                yield running
            except BaseException:
                nursery.cancel_scope.cancel()
                raise
            if not runtime.parts.life.stopping:
                runtime.orders.stop()
            nursery.cancel_scope.deadline = trio.current_time() + SECONDS_TO_STOP
        assert not nursery.cancel_scope.cancelled_caught, "the proxy did not stop in time"
    finally:
        structlog.reset_defaults()
        shutil.rmtree(state)


def _drop(_logger: object, _method: str, _event: object) -> str:
    raise structlog.DropEvent
