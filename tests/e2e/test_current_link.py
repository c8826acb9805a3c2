"""A proxy that was started in `current/`, a link to a release that has the configuration too, follows the link."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest
import trio

from tests.support.admin import Admin
from tests.support.hotswap import SOURCES, run_hotswap
from tests.support.pools import listeners, table

pytestmark = pytest.mark.fail_after(60)


def write_release(root: Path, number: int) -> Path:
    """A release with its configuration, which says of which one it is."""
    directory = root / "releases" / str(number)
    directory.mkdir(parents=True)
    text = table("proxy", {"log_format": "json", "access_log": "off"})
    text += table("admin", {"bind": [f"unix:{root}/own.sock"]}) + listeners()
    pool = {
        "server": "command",
        "command": [sys.executable, "-m", "faulty.plain"],
        "environment": {"PYTHONPATH": SOURCES, "RELEASE": str(number)},
        "health": {"interval": "200ms"},
    }
    (directory / "hotswap.toml").write_text(text + table("pools.web", pool), encoding="utf-8")
    return directory


def move_link(root: Path, number: int) -> None:
    """What a deploy does."""
    (root / "next").symlink_to(f"releases/{number}")
    (root / "next").rename(root / "current")


def variables_of(pid: int) -> list[str]:
    """Its variables, as it was started with them."""
    return Path(f"/proc/{pid}/environ").read_text(encoding="ascii").split("\0")


async def found_from(directory: Path) -> str:
    """The configuration of the proxy that a verb finds, which is typed in a shell there."""
    verb = f"cd {directory} && exec {sys.executable} -m hotswap status --json"
    environment = {**os.environ, "PYTHONPATH": SOURCES}
    done = await trio.run_process(["sh", "-c", verb], env=environment, capture_stdout=True)
    return str(json.loads(done.stdout)["config"])


async def test_a_reload_follows_the_link_that_the_proxy_was_started_in(tmp_path):
    """Also when the release that it was started in is gone by then."""
    for number in (1, 2, 3):
        write_release(tmp_path, number)
    move_link(tmp_path, 1)
    text = (tmp_path / "current" / "hotswap.toml").read_text(encoding="utf-8")
    # The shell keeps the name of the link in $PWD, and names no file; what the support says is left out.
    shell = ("sh", "-c", f"cd {tmp_path}/current && exec {sys.executable} -m hotswap run")
    async with run_hotswap(text, tmp_path, launcher=shell, wait_ready=False) as hotswap:
        hotswap.admin = Admin(tmp_path / "own.sock")
        await hotswap.wait_ready()
        assert (await hotswap.status())["config"] == f"{tmp_path}/current/hotswap.toml"
        for number in (2, 3):
            move_link(tmp_path, number)
            assert (await hotswap.rollout())["outcome"] == "done"
            for backend in await hotswap.backends():
                assert os.readlink(f"/proc/{backend['pid']}/cwd") == f"{tmp_path}/releases/{number}"
                assert f"RELEASE={number}" in variables_of(backend["pid"])
            assert await found_from(tmp_path / "current") == f"{tmp_path}/current/hotswap.toml"
            # Where the state was, too, which is warned of: it is made again.
            shutil.rmtree(tmp_path / "releases" / str(number - 1))
        await hotswap.wait_line("state_directory.vanished", "made again")
        assert (await hotswap.rollout())["outcome"] == "done"
        assert await found_from(tmp_path / "current") == f"{tmp_path}/current/hotswap.toml"
        assert hotswap.written("config.caution", f'set state_dir = \\"{tmp_path}/.hotswap\\"')
    assert json.loads(hotswap.lines[-1])["event"] == "proxy.stopped"
