"""The compatibility number of a release, read from files and commands of every kind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
import trio

from hotswap.control.pools.compatibility import read_compatibility, read_file, run_command
from hotswap.core.config import CompatibilityTable
from hotswap.core.rollout.compatibility import Unreadable
from hotswap.processes.guardian import Guardian
from tests.support.hotswap import SOURCES, wait_gone

ENVIRONMENT = {"PATH": os.environ["PATH"]}


async def test_without_a_table_there_is_no_number(tmp_path):
    """None is not the same as unreadable."""
    assert await read_compatibility(None, directory=str(tmp_path), environment=ENVIRONMENT) is None


async def test_a_file_is_read_in_the_directory_of_the_release(tmp_path):
    """Its first line counts."""
    (tmp_path / "EPOCH").write_text("7\nnotes\n", encoding="utf-8")
    table = CompatibilityTable(file="EPOCH")
    assert await read_compatibility(table, directory=str(tmp_path), environment=ENVIRONMENT) == "7"


async def test_a_command_runs_in_the_directory_with_the_environment_of_the_release(tmp_path):
    """The first line of its output counts."""
    (tmp_path / "EPOCH").write_text("8", encoding="utf-8")
    table = CompatibilityTable(command=("/bin/sh", "-c", 'echo "$(cat EPOCH)-$FLAVOUR"; echo more'))
    environment = ENVIRONMENT | {"FLAVOUR": "blue"}
    assert await read_compatibility(table, directory=str(tmp_path), environment=environment) == "8-blue"


@pytest.mark.parametrize("kind", ["missing", "directory", "fifo", "empty", "binary", "nul"])
def test_whatever_is_no_number_is_unreadable_and_says_why(tmp_path, kind):
    """Nothing raises, and nothing waits for somebody to write into a FIFO."""
    path = tmp_path / "EPOCH"
    match kind:
        case "directory":
            path.mkdir()
        case "fifo":
            os.mkfifo(path)
        case "empty":
            path.touch()
        case "binary":
            path.write_bytes(b"\xff\xfe\n")
        case "nul":
            path = path / "\0"
    found = read_file(str(path))
    assert isinstance(found, Unreadable)
    assert found.detail


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("echo 7; exit 3", "exit code 3"),
        ("echo no such table >&2; exit 1", "exit code 1: no such table"),
        ("kill -9 $$", "signal 9"),
        ("true", "empty"),
        ("sleep 60", "did not end within"),
        ("while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done", "did not end within"),
    ],
)
def test_a_command_that_fails_is_unreadable(tmp_path, script, why):
    """Also one that prints without end: its output is bounded, and so is its time."""
    found = run_command(("/bin/sh", "-c", script), str(tmp_path), ENVIRONMENT, timeout=0.5)
    assert isinstance(found, Unreadable)
    assert why in found.detail


def test_a_program_that_is_not_there_is_unreadable(tmp_path):
    """Nothing raises."""
    assert isinstance(run_command((str(tmp_path / "nothing"),), str(tmp_path), ENVIRONMENT), Unreadable)


def test_a_child_that_holds_the_output_open_does_not_hold_the_answer_up(tmp_path):
    """The end of the command itself counts, and what it left behind is ended."""
    script = "import os, sys, time\nprint(7, flush=True)\nif os.fork() == 0: time.sleep(600)"
    assert run_command((sys.executable, "-c", script), str(tmp_path), ENVIRONMENT, timeout=30) == "7"


PROXY = """
import os, sys, trio
from hotswap.control.pools.compatibility import read_compatibility
from hotswap.core.config import CompatibilityTable
from hotswap.processes.guardian import Guardian
async def main():
    table = CompatibilityTable(command=("/bin/sh", "-c", "sleep 60 & wait"))
    async with trio.open_nursery() as nursery:
        guardian = Guardian()
        async def read():
            await read_compatibility(table, directory="/", environment=os.environ, guardian=guardian)
        nursery.start_soon(read)
        while not guardian.watched:
            await trio.sleep(0.01)
        print(*guardian.watched, flush=True)
trio.run(main)
"""


async def test_a_command_does_not_outlive_a_killed_proxy():
    """It has a session of its own, so the guardian has to know of it."""
    with subprocess.Popen(  # noqa: ASYNC220  # it starts at once
        [sys.executable, "-c", PROXY], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": SOURCES}
    ) as proxy:
        assert proxy.stdout is not None
        command = int(await trio.to_thread.run_sync(proxy.stdout.readline))
        assert os.getsid(command) == command
        proxy.send_signal(signal.SIGKILL)
        await wait_gone(command)


async def test_a_command_that_has_ended_is_nobody_the_guardian_waits_for(tmp_path):
    """Whether somebody still waits for the answer or not."""
    guardian = Guardian()
    try:
        table = CompatibilityTable(command=("/bin/sh", "-c", "echo 7"))
        directory = str(tmp_path)
        found = await read_compatibility(table, directory=directory, environment=ENVIRONMENT, guardian=guardian)
        assert found == "7"
        assert not guardian.watched
        slow = CompatibilityTable(command=("/bin/sh", "-c", "sleep 0.3; echo 7"))
        with trio.CancelScope() as asking:
            async with trio.open_nursery() as nursery:

                async def leave() -> None:
                    while not guardian.watched:
                        await trio.sleep(0.01)
                    asking.cancel()

                nursery.start_soon(leave)
                await read_compatibility(slow, directory=directory, environment=ENVIRONMENT, guardian=guardian)
        assert guardian.watched
        while guardian.watched:
            await trio.sleep(0.01)
    finally:
        os.close(guardian.pipe)
