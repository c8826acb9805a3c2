"""What a backend leaves behind is asked to end, and then killed; nobody else is touched."""

from __future__ import annotations

import os
import signal

import pytest
import trio

from hotswap.processes.exit_status import Exit
from hotswap.processes.guard import members_of, signal_session

CHILD = """
import os, signal, sys, time
if "apart" in sys.argv: os.setpgid(0, 0)
def leave(*_):
    print("asked", flush=True)
    if "stubborn" not in sys.argv: sys.exit(0)
signal.signal(signal.SIGTERM, leave)
print("child", os.getpid(), flush=True)
while True: time.sleep(60)
"""

LEADER = f"""
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", {CHILD!r}, *sys.argv[1:]])
if "crash" in sys.argv: sys.stdin.read() or time.sleep(0.5)
else: time.sleep(60)
"""


async def child_of(stage) -> int:
    return int((await stage.lines.wait_for("child")).split()[1])


@pytest.mark.parametrize("where", ["beside", "apart"])
async def test_an_app_behind_a_shell_is_asked_to_end(stage, wait_gone, where):
    """`sh -c "app; true"` ends at SIGTERM and tells nobody; the app may have made a group of its own."""
    process = stage.spawn(LEADER, where)
    child = await child_of(stage)
    killed = await process.stop(stop_timeout=30)
    await stage.lines.wait_for("asked")
    assert not killed
    assert process.exit == Exit(signal=signal.SIGTERM)
    await wait_gone(child)


@pytest.mark.parametrize("where", ["beside", "apart"])
async def test_what_does_not_end_is_killed_when_the_time_to_stop_is_over(stage, wait_gone, where):
    """It has what is left of that time and no more, and the log says how many."""
    process = stage.spawn(LEADER, where, "stubborn")
    child = await child_of(stage)
    began = trio.current_time()
    await process.stop(stop_timeout=0.5)
    assert trio.current_time() - began >= 0.4
    await stage.lines.wait_for("asked")
    await wait_gone(child)
    assert process.ended


async def test_what_a_crash_leaves_behind_is_asked_and_killed_soon(stage, wait_gone):
    """Its slot waits for that, so it is not given the time of a stop."""
    process = stage.spawn(LEADER, "crash", "stubborn", "apart")
    child = await child_of(stage)
    assert await process.wait_exit() == Exit(code=0)
    await stage.lines.wait_for("asked")
    await wait_gone(child)
    (told,) = [entry for entry in stage.capture.entries if entry["event"] == "backend.remains_killed"]
    assert told["processes"] == 1


async def test_a_kill_asks_nobody(stage, wait_gone):
    """Wherever in its session they are."""
    process = stage.spawn(LEADER, "apart", "stubborn")
    child = await child_of(stage)
    process.kill()
    await process.wait_exit()
    await wait_gone(child)


async def test_a_session_whose_number_is_somebody_elses_is_left_alone(stage, lives):
    """The time at which its leader started tells."""
    process = stage.spawn(LEADER, "apart")
    child = await child_of(stage)
    members = members_of((process.pid,))[process.pid]
    assert members is not None
    assert {process.pid, child} <= set(members)
    assert not signal_session(process.pid, process.start - 1, signal.SIGKILL, members)
    assert lives(child)
    assert os.getpgid(child) == child


def test_our_own_session_is_no_backends():
    """Who is asked for another session does not meet us."""
    assert members_of((999_999_999,)) == {999_999_999: []}
