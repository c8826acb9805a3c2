"""Nothing that a backend starts outlives the proxy: workers, groups of their own, daemons."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from tests.support.chain import run_chain
from tests.support.hotswap import living, run_hotswap, wait_gone
from tests.support.pools import listeners, table

STARTER = """
import os, subprocess, sys
def start(**options):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"], **options)
    with open("started", "a") as file:
        file.write(f"{child.pid}\\n")
start()
start(preexec_fn=lambda: os.setpgid(0, 0))
if "daemon" in sys.argv:
    if os.fork() == 0:
        os.setsid()
        start(start_new_session=True, env={} if "kept" in sys.argv else None)
        os._exit(0)
    os.wait()
os.execv(sys.executable, [sys.executable, "-m", "faulty.plain"])
"""


def pool(directory: Path, *arguments: str) -> str:
    from tests.support.hotswap import SOURCES

    (directory / "starter.py").write_text(STARTER, encoding="utf-8")
    return table(
        "pools.web",
        {
            "server": "command",
            "command": [sys.executable, "starter.py", *arguments],
            "directory": directory,
            "size": 1,
            "environment": {"PYTHONPATH": SOURCES},
            "rollout": {"strategy": "surge"},
            "health": {"interval": "200ms"},
        },
    )


def started(directory: Path) -> list[int]:
    return [int(line) for line in (directory / "started").read_text(encoding="ascii").split()]


async def test_what_a_backend_started_ends_with_it(tmp_path):
    """At a rollout, and at the end of the proxy."""
    async with run_hotswap(listeners() + pool(tmp_path), tmp_path) as hotswap:
        first = started(tmp_path)
        assert len(living(first)) == 2
        await hotswap.rollout()
        assert living(first) == []
    assert living(started(tmp_path)) == []


async def test_a_daemon_ends_with_its_backend(tmp_path):
    """Also when another process of the proxy has taken the backend over, which is not the daemon's ancestor."""
    async with run_chain(listeners() + pool(tmp_path, "daemon"), tmp_path) as chain:
        assert len(living(started(tmp_path))) == 3
        await chain.take_over()
        first = started(tmp_path)
        assert len(living(first)) == 3
        await chain.hotswap.rollout()
        assert living(first) == []
    for pid in started(tmp_path):
        await wait_gone(pid)


async def test_a_daemon_without_the_mark_outlives_its_backend_and_not_the_proxy(tmp_path):
    """As a deploy is started that replaces the app; when the proxy stops, nobody else knows of it."""
    async with run_hotswap(listeners() + pool(tmp_path, "daemon", "kept"), tmp_path) as hotswap:
        await hotswap.rollout()
        survivors = living(started(tmp_path)[:3])
        assert len(survivors) == 1
    for pid in started(tmp_path):
        await wait_gone(pid)
    assert hotswap.written("orphan.ending")


@pytest.mark.parametrize("signals", [[signal.SIGKILL], [signal.SIGTERM] * 2], ids=["killed", "stopped at once"])
async def test_no_daemon_outlives_a_proxy_that_does_not_wait_for_it(tmp_path, signals):
    """The guardian finds them."""
    async with run_hotswap(listeners() + pool(tmp_path, "daemon"), tmp_path, stop=False) as hotswap:
        assert len(living(started(tmp_path))) == 3
        for number in signals:
            hotswap.signal(number)
        for pid in started(tmp_path):
            await wait_gone(pid)
