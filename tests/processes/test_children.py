"""A process to which orphans come reaps them, and leaves alone what somebody waits for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from tests.support.hotswap import REPOSITORY

PROGRAM = """
import ctypes, os, signal, sys
import structlog, trio
from hotswap.processes.children import GRACE, adopts_orphans, note_child, serve_orphans

assert not adopts_orphans()
assert ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) == 0  # PR_SET_CHILD_SUBREAPER
assert adopts_orphans()

def zombies():
    with os.popen(f"ps --ppid {os.getpid()} -o pid=,stat=") as out:
        return {int(pid) for pid, stat in map(str.split, out) if stat.startswith("Z")}

def orphan():
    # The child tells the number of its own child and ends; that one ends when it is left alone.
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        born = os.fork()
        if born:
            os.write(writing, b"%d" % born)
            os._exit(0)
        while os.getppid() != 1 and os.getppid() != int(sys.argv[1]):
            pass
        os._exit(0)
    os.waitpid(child, 0)
    return int(os.read(reading, 20))

def waited_for():
    pid = os.fork()
    if pid == 0:
        os._exit(7)
    return pid

async def main():
    ours = waited_for()
    note_child(ours)
    early = orphan()
    while not {ours, early} <= zombies():
        await trio.sleep(0.01)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_orphans, structlog.get_logger())
        while early in zombies():
            await trio.sleep(0.02)
        late = [orphan() for _ in range(3)]
        while zombies() & set(late):
            await trio.sleep(0.02)
        # Longer than both looks: only what was noted is left.
        await trio.sleep(2 * GRACE)
        assert zombies() == {ours}, zombies()
        nursery.cancel_scope.cancel()
    assert os.waitstatus_to_exitcode(os.waitpid(ours, 0)[1]) == 7

async def limited():
    with trio.fail_after(20):
        await main()

sys.argv.append(str(os.getpid()))
trio.run(limited)
"""


def test_orphans_are_reaped_and_nothing_else():
    """Those that came before it looked too; the exit status of a child that was started is still there afterwards."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


ENDING = """
import os, subprocess, sys
import structlog, trio
from hotswap.processes.children import adopt_orphans, end_orphans, note_child

DAEMON = '''
import os, sys, time
if os.fork() == 0:
    os.setsid()
    os.write(int(sys.argv[1]), b"%d" % os.getpid())
    time.sleep(60)
'''

def daemon(**variables):
    # Its parent ends, so it is reparented to this process.
    read, write = os.pipe()
    command = [sys.executable, "-c", DAEMON, str(write)]
    subprocess.run(command, pass_fds=[write], env={**os.environ, **variables}, stdout=subprocess.DEVNULL, check=True)
    return int(os.read(read, 20))

def runs(pid):
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0] not in "ZX"

async def end():
    with trio.fail_after(20):
        await end_orphans(structlog.get_logger())

adopt_orphans()
other = subprocess.Popen(["sleep", "60"], stdout=subprocess.DEVNULL)
note_child(other.pid, stranger="another proxy" in sys.argv)
marked, unmarked = daemon(HOTSWAP_POOL="web"), daemon()
trio.run(end)
print("left", [runs(pid) for pid in (marked, unmarked, other.pid)])
for pid in (unmarked, other.pid):
    os.kill(pid, 9)
"""


@pytest.mark.parametrize("others", ["none", "from the beginning", "another proxy"])
def test_daemons_without_a_mark_are_ended_where_nothing_else_can_have_come(others):
    """What a script had started before it became this program is not a backend's, nor is what another proxy leaves."""
    before = "sleep 60 >/dev/null & echo $!; " if others == "from the beginning" else ""
    done = subprocess.run(
        ["sh", "-c", f'{before}exec "$0" -c "$@"', sys.executable, ENDING, others],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=True,
    )
    *sleeping, left = done.stdout.splitlines()
    for pid in sleeping:
        if pid.isdecimal():
            os.kill(int(pid), signal.SIGKILL)
    assert left == f"left [False, {others != 'none'}, True]"
