"""A process to which orphans come reaps them, and leaves alone what somebody waits for."""

from __future__ import annotations

import subprocess
import sys

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
