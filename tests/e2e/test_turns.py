"""Nothing blocks the loop: names, files, /proc, certificates, pipes and processes are slow, and nobody waits for them.

Nothing is patched. A real proxy runs in this process, an instrument measures each turn of each task, and the world
around it is as slow as it gets: a pipe that somebody writes to later, a command that sleeps, a name that nobody has,
a log that is not read, a backend that floods its output, and hundreds of processes to look at.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

from tests.support.admin import Admin
from tests.support.certificates import issue_certificate
from tests.support.hotswap import SOURCES
from tests.support.pools import listeners, table
from tests.support.runtime_stage import RunningRuntime, open_runtime
from tests.support.turns import Turns, watch_turns

LONGEST = 0.03
"""Seconds of a turn: what is made slow here takes twenty times as long, and the longest turn that is needed a tenth."""

LONGEST_SPAWN = 0.5
"""The same where processes are started: the kernel holds whoever starts one until it has become the program, which is
a millisecond where a processor is free, and as long as the new one waits for its turn where none is."""

SLOW = 0.7
"""Seconds that everything slow takes."""

CHILDREN = 60

FAMILY = f"""
import os, subprocess, sys
for _ in range({CHILDREN}):
    subprocess.Popen(["sleep", "300"])
if "flood" in sys.argv:
    if os.fork() == 0:
        for number in range(40_000):
            print("x" * 200, number)
        os._exit(0)
os.execv(sys.executable, [sys.executable, "-m", "faulty.plain"])
"""


def pool(directory: Path, name: str, *arguments: str, size: int = 2, **settings: object) -> str:
    """A pool of backends with a family each."""
    (directory / "family.py").write_text(FAMILY, encoding="utf-8")
    values = {
        "server": "command",
        "command": [sys.executable, "family.py", *arguments],
        "directory": directory,
        "size": size,
        "rollout": {"strategy": "surge"},
        "environment": {"PYTHONPATH": SOURCES},
        "health": {"interval": "200ms"},
    }
    return table(f"pools.{name}", {**values, **settings})


def slow_file(path: Path, content: bytes) -> Callable[[], None]:
    """Make a pipe in place of a file; gives what writes the content to it once, after a while."""
    os.mkfifo(path)

    def write() -> None:
        threading.Event().wait(SLOW)
        with open(path, "wb") as pipe:
            pipe.write(content)

    return write


class World:
    """A proxy and what is done to it."""

    def __init__(self, running: RunningRuntime, turns: Turns) -> None:
        self.running = running
        self.turns = turns
        self.admin = Admin(Path(running.parts.config.proxy.state_dir) / "admin")
        self.found: dict[str, tuple[float, str]] = {}

    async def do(self, what: str, deed: Awaitable[object], *, longest: float = LONGEST) -> None:
        """Do something and note the longest turn meanwhile, if it is too long."""
        self.turns.longest = (0.0, "")
        await deed
        if self.turns.longest[0] > longest:
            self.found[what] = self.turns.longest

    async def call(self, method: str, path: str) -> None:
        """Make one call of the admin API; whatever it answers, it is no failure of the proxy."""
        response = await self.admin.call(method, path)
        assert response.status < 500 or response.status == 503, (path, response.body)


async def rest() -> None:
    """Let names be looked up again, and probes come to their end."""
    await trio.sleep(SLOW)


GETS = (
    "/v1/status",
    "/v1/pools/web",
    "/v1/rollouts",
    "/v1/traffic",
    "/metrics",
    "/readyz",
    "/openapi.json",
    "/",
)


@pytest.mark.fail_after(40)
async def test_no_view_no_reload_and_no_death_holds_the_loop(tmp_path):
    """Each admin call, with 30 backends of 12 children each; a reload, a crash, a flood, a directory that vanishes."""
    text = (
        listeners(issue_certificate(tmp_path))
        + pool(tmp_path, "web", size=12)
        + pool(tmp_path, "loud", "flood", size=1)
    )
    async with open_runtime(text, tmp_path) as running:
        with watch_turns() as turns:
            world = World(running, turns)
            for path in GETS:
                await world.do(path, world.call("GET", path))
            for path in ("slots/0/drain", "slots/0/readmit", "pause", "resume", "unlock", "abort"):
                await world.do(path, world.call("POST", f"/v1/pools/web/{path}"))
            await world.do("reload", world.call("POST", "/v1/pools/web/reload?wait=true"), longest=LONGEST_SPAWN)
            await world.do("reread", world.call("POST", "/v1/config/reload?wait=true"))
            backend = running.parts.pools["loud"].core.backends[0]
            assert backend.pid is not None
            os.kill(backend.pid, signal.SIGKILL)
            await world.do("crash", running.wait(lambda: len(running.generations("loud")) == 0))
            await world.do(
                "respawn", running.wait(lambda: len(running.generations("loud")) == 1), longest=LONGEST_SPAWN
            )
            shutil.rmtree(running.parts.premises.directory)
            await world.do("vanished", running.parts.premises.wait_remade(), longest=LONGEST_SPAWN)
            await world.do(
                "replaced", running.wait(lambda: len(running.generations("web")) == 12), longest=LONGEST_SPAWN
            )
    assert world.found == {}


@pytest.mark.fail_after(40)
async def test_no_slow_file_command_or_name_holds_the_loop(tmp_path):
    """All of them at a reload: an environment file, a number of compatibility, a certificate, a name, a probe."""
    certificates = issue_certificate(tmp_path)
    write = slow_file(tmp_path / "variables", b"A=1\n")
    slow_command = [sys.executable, "-c", f"import time; time.sleep({SLOW}); print(1)"]
    text = (
        listeners(certificates)
        + pool(tmp_path, "web", environment_file=tmp_path / "variables", compatibility={"command": slow_command})
        + table("pools.far", {"addresses": ["nowhere.invalid:80", "localhost:1"], "health": {"interval": "100ms"}})
        + table("pools.late", {"addresses": ["127.0.0.1:1"], "health": {"interval": "100ms", "path": "/slow"}})
    )
    threading.Thread(target=write, daemon=True).start()
    async with open_runtime(text, tmp_path) as running:
        with watch_turns() as turns:
            world = World(running, turns)
            threading.Thread(target=write, daemon=True).start()
            await world.do("reload", world.call("POST", "/v1/pools/web/reload?wait=true"), longest=LONGEST_SPAWN)
            running.write(text.replace("localhost:1", "localhost:2").replace("127.0.0.1:0", "localhost:0"))
            await world.do("reread", world.call("POST", "/v1/config/reload?wait=true"))
            await world.do("names", rest())
            await world.do("status", world.call("GET", "/v1/status"))
    assert world.found == {}
