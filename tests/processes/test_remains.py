"""What a backend leaves behind is asked to end, and then killed; nobody else is touched."""

from __future__ import annotations

import os
import shlex
import signal
import sys

import pytest
import trio

from hotswap.processes.exit_status import Exit
from hotswap.processes.guard import mark_of, members_of, signal_session

CHILD = """
import os, signal, sys, time
if "apart" in sys.argv: os.setpgid(0, 0)
if "daemon" in sys.argv:
    os.setsid()
    if os.fork(): os._exit(0)
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


BREEDER = """
import os, time
for _ in range(7):
    if not os.fork(): os.setsid()
    time.sleep(0.005)
time.sleep(60)
"""
"""Becomes 128 daemons."""

APP = """
import signal, sys, time
def leave(*_):
    print("asked", flush=True)
    time.sleep(0.3)
    print("finished", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
print("up", flush=True)
while True: time.sleep(60)
"""


async def test_an_app_in_a_script_has_its_time_to_finish(stage):
    """`sh` waits for it, and forwards nothing."""
    process = stage.spawn(argv=("sh", "-c", f"{shlex.quote(sys.executable)} -c {shlex.quote(APP)}; true"))
    await stage.lines.wait_for("up")
    killed = await process.stop(stop_timeout=30)
    assert not killed
    assert process.output_lines() == ("up", "asked", "finished")
    assert not [entry for entry in stage.capture.entries if entry["event"] == "backend.remains_killed"]


@pytest.mark.parametrize("where", ["beside", "apart", "daemon"])
async def test_an_app_behind_a_shell_is_asked_to_end(stage, wait_gone, where):
    """`sh -c "app; true"` ends at SIGTERM and tells nobody; the app may have made a group of its own."""
    process = stage.spawn(LEADER, where)
    child = await child_of(stage)
    killed = await process.stop(stop_timeout=30)
    await stage.lines.wait_for("asked")
    assert not killed
    assert process.exit == Exit(signal=signal.SIGTERM)
    await wait_gone(child)


@pytest.mark.parametrize("where", ["beside", "apart", "daemon"])
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


@pytest.mark.parametrize("where", ["apart", "daemon"])
async def test_a_kill_asks_nobody(stage, wait_gone, where):
    """Wherever they are."""
    process = stage.spawn(LEADER, where, "stubborn")
    child = await child_of(stage)
    process.kill()
    await process.wait_exit()
    await wait_gone(child)


async def test_a_session_whose_number_is_somebody_elses_is_left_alone(stage, lives):
    """The time at which its leader started tells."""
    process = stage.spawn(LEADER, "apart")
    child = await child_of(stage)
    members = members_of({process.pid: process.start})[process.pid]
    assert members is not None
    assert {process.pid, child} <= set(members)
    assert not signal_session(process.pid, process.start - 1, signal.SIGKILL, members)
    assert lives(child)
    assert os.getpgid(child) == child


def test_our_own_session_is_no_backends():
    """Who is asked for another session does not meet us."""
    assert members_of({999_999_999: 1}) == {999_999_999: []}


async def test_what_a_backend_starts_bears_its_mark(stage, lives):
    """Whoever its parent is; a mark of a process whose number was given to somebody else is another's."""
    process = stage.spawn(LEADER, "daemon")
    child = await child_of(stage)
    assert os.getsid(child) != process.pid
    assert mark_of(child) == (process.pid, process.start)
    assert mark_of(os.getpid()) == (0, 0)
    for start, found in ((process.start, True), (process.start - 1, False)):
        assert (child in (members_of({process.pid: start})[process.pid] or ())) is found
    assert not signal_session(process.pid, process.start - 1, signal.SIGKILL, [child])
    assert lives(child)


async def test_a_crowd_of_daemons_is_ended(stage, wait_gone):
    """Those that go on making others while they are killed, too; what a look misses the next one finds."""
    starter = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', sys.argv[1]]); time.sleep(60)"
    process = stage.spawn(starter, BREEDER)
    while len(crowd := members_of({process.pid: process.start})[process.pid] or []) < 30:
        await trio.sleep(0.01)
    await process.stop(stop_timeout=0.2)
    assert members_of({process.pid: process.start}) == {process.pid: []}
    await wait_gone(*crowd)
