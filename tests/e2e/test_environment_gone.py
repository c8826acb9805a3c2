"""The environment that the proxy was started from is moved away or removed, as an upgrade in place does it."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from tests.support.certificates import issue_certificate
from tests.support.client import fetch
from tests.support.environments import make_environment
from tests.support.hotswap import Hotswap, run_hotswap
from tests.support.pools import command_pool, listeners, table

pytestmark = pytest.mark.fail_after(90)


PATHS = ("/", "/livez", "/readyz", "/metrics", "/openapi.json", "/v1/status", "/v1/rollouts", "/v1/traffic", "/nothing")


APP = """
async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})
"""


async def _refilled(hotswap: Hotswap, victim: int) -> bool:
    return await _ready(hotswap, 2) and victim not in {backend["pid"] for backend in await hotswap.backends()}


async def _ready(hotswap: Hotswap, size: int) -> bool:
    return [backend["state"] for backend in await hotswap.backends()] == ["ready"] * size


@asynccontextmanager
async def run_without_environment(text: str, directory: Path) -> AsyncIterator[Hotswap]:
    """A proxy whose environment is there until it is ready, and not any more in the block."""
    python = await trio.to_thread.run_sync(make_environment, directory / "environment")
    program = (str(python), "-m", "hotswap")
    async with run_hotswap(text, directory, program=program, environment={"PYTHONPATH": ""}) as hotswap:
        await hotswap.wait_line("proxy.ready")
        shutil.rmtree(directory / "environment")
        yield hotswap


async def test_everything_goes_on_when_the_environment_is_gone(tmp_path):
    """Pools of another Python are rolled, respawned, changed and stopped; every page of the admin API is served."""
    certificates = issue_certificate(tmp_path)
    text = listeners(certificates) + command_pool(tmp_path, "faulty.plain")
    async with run_without_environment(text, tmp_path) as hotswap:
        after = len(hotswap.lines)
        (await hotswap.fetch("/")).expect()
        (await fetch(await hotswap.target("secure", tls=certificates.trusting), "/")).expect()
        for path in PATHS:
            assert (await hotswap.admin.call("GET", path)).status == (404 if path == "/nothing" else 200), path
        assert (await hotswap.rollout())["outcome"] == "done"
        (victim, _) = await hotswap.backends()
        os.kill(victim["pid"], signal.SIGKILL)
        await hotswap.wait_until(partial(_refilled, hotswap, victim["pid"]))
        hotswap.configure(text.replace("size = 2", "size = 3"))
        hotswap.signal(signal.SIGHUP)
        await hotswap.wait_until(partial(_ready, hotswap, 3))
        for verb in ("slots/0/drain", "slots/0/readmit", "pause", "resume", "unlock"):
            assert (await hotswap.admin.call("POST", f"/v1/pools/web/{verb}")).status in (200, 202), verb
        hotswap.configure(text.replace("size = 2", "sice = 2"))
        response = await hotswap.admin.call("POST", "/v1/config/reload")
        assert response.status == 422
        assert "sice" in response.body.decode()
        hotswap.configure(text)
        done = await hotswap.command("reload")
        assert done.code == 0, done.stderr
        done = await hotswap.command("takeover")
        assert done.code == 3
        assert f"{tmp_path}/environment/bin/python cannot be started: it is gone" in done.stderr
        troubles = [line for line in hotswap.lines[after:] if "Traceback" in line or "No module" in line]
        assert troubles == []
    assert hotswap.written("proxy.stopped")


async def test_a_pool_that_runs_the_same_python_says_what_is_gone_and_comes_back_with_it(tmp_path):
    """It goes on, its reload fails by name, and the upgrade that puts the environment there again repairs it."""
    (tmp_path / "shop.py").write_text(APP, encoding="utf-8")
    pool = {"server": "uvicorn", "app": "shop:app", "directory": tmp_path, "size": 2, "health": {"interval": "200ms"}}
    async with run_without_environment(listeners() + table("pools.web", pool), tmp_path) as hotswap:
        done = await hotswap.command("reload")
        assert done.code == 4
        assert f"cannot run {tmp_path}/environment/bin/python: No such file or directory" in done.stderr
        (await hotswap.fetch("/")).expect()
        await trio.to_thread.run_sync(make_environment, tmp_path / "environment")
        for verb in ("unlock", "reload"):
            done = await hotswap.command(verb)
            assert done.code == 0, done.stderr
