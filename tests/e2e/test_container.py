"""The proxy as process 1, as in a container, and the files that make one."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from tests.support.chain import Chain
from tests.support.hotswap import (
    REPOSITORY,
    SOURCES,
    Hotswap,
    children,
    descendants,
    run_hotswap,
)
from tests.support.pools import command_pool, listeners
from tests.support.tools import require_tool

CONTAINER = REPOSITORY / "conf" / "container"

LEAVES_ORPHANS = """
import os, subprocess, sys
# Each shell starts a process in a session of its own and ends; that process goes to process 1, and ends too.
for _ in range(3):
    subprocess.run(["/bin/sh", "-c", "setsid sh -c 'echo orphan $$' &"], check=True)
from faulty.plain import main
main([])
"""


async def as_first() -> list[str]:
    """The words before a command that make it process 1 of a namespace of its own."""
    unshare = require_tool("unshare", package="util-linux")
    alone = [unshare, "--pid", "--fork", "--mount-proc", "--kill-child"]
    if os.geteuid():
        alone += ["--user", "--map-root-user"]
    tried = await trio.run_process([*alone, "true"], check=False, capture_stderr=True)
    if tried.returncode and os.environ.get("CI") != "true":
        pytest.skip(f"no namespace can be made here: {tried.stderr.decode().strip()}")
    return alone


@asynccontextmanager
async def run_as_first(config: str, directory: Path) -> AsyncIterator[tuple[Hotswap, int]]:
    """Run a proxy as process 1 of a namespace of its own; gives it, and its process id out here."""
    async with run_hotswap(config, directory, launcher=await as_first(), stop=False) as hotswap:
        (first,) = children(hotswap.pid)
        yield hotswap, first


def pool(directory: Path) -> str:
    """Two backends that leave orphans behind whenever they boot."""
    return command_pool(directory, command=[sys.executable, "-c", LEAVES_ORPHANS])


async def wait_no_zombie(first: int) -> None:
    """Block until process 1 has reaped everything that ended."""
    with trio.fail_after(10):
        while "Z" in children(first).values():
            await trio.sleep(0.05)


@pytest.mark.fail_after(60)
async def test_process_1_reaps_what_its_backends_leave_behind(tmp_path: Path):
    """Not once but as a rule; the rollout that replaces them is none the wiser, and SIGTERM is a graceful stop."""
    async with run_as_first(listeners() + pool(tmp_path), tmp_path) as (hotswap, first):
        assert (await hotswap.status())["pid"] == 1
        rollout = await hotswap.rollout()
        assert rollout["outcome"] == "done"
        exits = [record for record in hotswap.records() if record.get("event") == "backend.exited"]
        # It has not taken the end of a backend from whoever waits for it.
        assert len(exits) == 2
        assert not [record for record in exits if "unknown" in str(record["exit"])], exits
        with trio.fail_after(10):
            while len(orphans(hotswap)) < 12:
                await hotswap.wait_more()
        await wait_no_zombie(first)
        os.kill(first, signal.SIGTERM)
        await hotswap.wait_stopped()


@pytest.mark.fail_after(60)
async def test_process_1_that_was_taken_over_from_passes_signals_on(tmp_path: Path):
    """It stays, because everything ends with process 1; what it is told the proxy that serves is told."""
    async with run_as_first(listeners() + pool(tmp_path), tmp_path) as (hotswap, first):
        response = await hotswap.admin.call("POST", "/v1/takeover?probation=100ms&drain_timeout=1s")
        assert response.status == 200, response.body
        serving = response.json()["pid"]
        assert serving != 1
        with trio.fail_after(10):
            while (await hotswap.status())["predecessors"]:
                await trio.sleep(0.05)
            # It says good-bye and ends its loop; then what it had open is closed: listeners, connections, pipes.
            # What is left is the pipe by which signals wake it.
            while sorted(map(int, os.listdir(f"/proc/{first}/fd"))) != [0, 1, 2, 3, 4]:
                await trio.sleep(0.02)
            assert {os.readlink(f"/proc/{first}/fd/{number}").split(":")[0] for number in (3, 4)} == {"pipe"}
        so_far = len(hotswap.lines)
        os.kill(first, signal.SIGHUP)
        assert json.loads(await hotswap.wait_line("signal.received", after=so_far))["signal"] == "SIGHUP"
        assert (await hotswap.rollout())["outcome"] == "done"
        await wait_no_zombie(first)
        os.kill(first, signal.SIGTERM)
        await hotswap.wait_stopped()
        assert descendants(hotswap.pid) == []


@pytest.mark.fail_after(60)
async def test_process_1_outlives_proxies_that_take_over_from_each_other(tmp_path: Path):
    """One that it did not start serves, the one it knew is gone, and the state directory is another one.

    Its exit code is that of the last.
    """
    async with run_as_first(listeners() + command_pool(tmp_path, "faulty.plain"), tmp_path) as (hotswap, first):
        chain = Chain(hotswap)
        backends = await chain.backends()
        moved = tmp_path / "moved.toml"
        moved.write_text(hotswap.config.read_text(encoding="utf-8").replace('"state"', '"other"'), encoding="utf-8")
        for generation, query in ((2, {}), (3, {"config": moved}), (4, {})):
            result = await chain.take_over_soon(probation="100ms", **query)
            assert result["generation"] == generation
            assert (await chain.wait_alone())["pid"] == result["pid"]
            assert await chain.backends() == backends
        os.kill(first, signal.SIGTERM)
        await hotswap.wait_stopped()


@pytest.mark.fail_after(30)
async def test_process_1_can_be_stopped_before_it_serves(tmp_path: Path):
    """The kernel delivers to process 1 only what it handles, and a `docker stop` may come while it still loads."""
    (tmp_path / "loading").mkdir()
    reached = tmp_path / "reached"
    held = f"import pathlib, signal\npathlib.Path({str(reached)!r}).touch()\nsignal.pause()\n"
    (tmp_path / "loading" / "trio.py").write_text(held, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path / 'loading'}{os.pathsep}{SOURCES}"}
    command = [*await as_first(), sys.executable, "-m", "hotswap", "run"]
    process = await trio.lowlevel.open_process(command, cwd=tmp_path, env=environment)
    try:
        while not await trio.Path(reached).exists():
            await trio.sleep(0.01)
        (first,) = children(process.pid)
        os.kill(first, signal.SIGTERM)
        assert await process.wait() == 0
    finally:
        process.kill()
        await process.wait()


def orphans(hotswap: Hotswap) -> set[str]:
    """What the backends' orphans said; each says its process id."""
    lines = [str(record["line"]) for record in hotswap.records() if record.get("event") == "backend.output"]
    return {line for line in lines if line.startswith("orphan ")}


def instructions() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile, continued lines joined."""
    text = (CONTAINER / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines)]


def test_the_image_is_made_of_what_is_there():
    """Every file that it copies exists, and what is run there is what the other files speak of."""
    found = instructions()
    copied = [shlex.split(rest) for word, rest in found if word == "COPY"]
    ours = [source for words in copied if not words[0].startswith("--") for source in words[:-1]]
    assert ours
    assert [source for source in ours if not (REPOSITORY / source).exists()] == []
    values = dict(found)
    # Without a shell in between, which would be process 1 and pass no signal on.
    assert json.loads(values["ENTRYPOINT"]) == ["hotswap"]
    assert json.loads(values["CMD"]) == ["run", "/etc/hotswap/hotswap.toml"]
    assert ["conf/container/hotswap.toml", "/etc/hotswap/hotswap.toml"] in copied
    assert values["STOPSIGNAL"] == "SIGTERM"
    assert values["USER"] == "hotswap"
    config = (CONTAINER / "hotswap.toml").read_text(encoding="utf-8")
    # The verbs find the proxy by its configuration, which is where every verb looks.
    assert "HOTSWAP_ADMIN" not in values["ENV"]
    assert json.loads(values["HEALTHCHECK"].partition("CMD ")[2]) == ["hotswap", "healthcheck"]
    ports = set(re.findall(r'"0\.0\.0\.0:(\d+)"', config))
    assert set(values["EXPOSE"].split()) == ports


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A directory whose name leaves room for the sockets below it, as `/run` does."""
    with tempfile.TemporaryDirectory(prefix="hotswap-") as directory:
        yield Path(directory)


@pytest.mark.fail_after(60)
async def test_the_image_serves_the_app_that_it_copies(tmp_path: Path):
    """Its last stage is laid out below another root, and its configuration run there, on other ports."""
    *_, last = (number for number, (word, _) in enumerate(instructions()) if word == "FROM")
    for word, rest in instructions()[last:]:
        if word == "COPY" and not rest.startswith("--from"):
            source, target = shlex.split(rest)
            place = tmp_path / target.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(REPOSITORY / source)
    # Nothing but the packages of the wheel is installed.
    installed = tmp_path / "installed"
    installed.mkdir()
    for package in (REPOSITORY / "proxy" / "hotswap", REPOSITORY / "backends" / "hotswap_backends"):
        (installed / package.name).symlink_to(package)
    text = (tmp_path / "etc" / "hotswap" / "hotswap.toml").read_text(encoding="utf-8")
    text = re.sub(r"0\.0\.0\.0:\d+", "127.0.0.1:0", text)
    text = text.replace("unix:/run/hotswap/", f"unix:{tmp_path}/").replace('"/', f'"{tmp_path}/')
    for directory in ("run", "tmp"):
        (tmp_path / directory).mkdir()
    async with run_hotswap(text, tmp_path, environment={"PYTHONPATH": str(installed)}) as hotswap:
        assert len(await hotswap.backends("notes")) == 2
