"""Process 1 of a container after a takeover: it reaps, passes signals on, and ends with the last proxy."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from hotswap.control.takeover.stub import forget_pid, read_pid, write_pid
from tests.support.hotswap import SOURCES

STUB = """
import ctypes, os, signal, sys, time
from pathlib import Path
from hotswap.control.takeover.stub import be_stub, write_pid
directory = Path(sys.argv[1])
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # orphans come to this process, as they do to process 1
def serve(code):
    signal.signal(signal.SIGTERM, lambda *_: os._exit(code))
    signal.signal(signal.SIGHUP, lambda *_: (directory / "hangup").touch())
    write_pid(directory)
    (directory / f"serving-{code}").touch()
    while True:
        signal.pause()
os.dup2(0, 3)
stub = os.getpid()
successor = os.fork()
if successor == 0:
    if sys.argv[2] == "chain":
        if os.fork() == 0:
            serve(8)
        while not (directory / "serving-8").exists():
            time.sleep(0.01)
        os._exit(0)
    if sys.argv[2] == "late":
        # It dies without a word while another one is taking over.
        if os.fork() == 0:
            while os.getppid() != stub:
                time.sleep(0.01)
            time.sleep(0.3)
            serve(9)
        os.kill(os.getpid(), signal.SIGKILL)
    serve(7)
print(successor, flush=True)
sys.exit(be_stub(directory, successor))
"""


async def appears(path: Path) -> None:
    """Wait for a file."""
    while not await trio.Path(path).exists():
        await trio.sleep(0.01)


async def has_closed(pid: int, fd: int) -> None:
    """Wait until a process has closed a file; a pipe of its own may be there afterwards."""
    while not os.readlink(f"/proc/{pid}/fd/{fd}").startswith("pipe:"):
        await trio.sleep(0.01)


@pytest.mark.parametrize(("kind", "code"), [("one", 7), ("chain", 8), ("late", 9)])
async def test_a_stub_passes_signals_on_and_ends_with_the_proxy_that_serves(tmp_path: Path, kind, code) -> None:
    """Also when the process that it knew has been replaced by another, which was orphaned by that."""
    stub = subprocess.Popen(  # noqa: ASYNC220  # it starts at once
        [sys.executable, "-c", STUB, str(tmp_path), kind],
        env={**os.environ, "PYTHONPATH": SOURCES},
        stdout=subprocess.PIPE,
    )
    try:
        await appears(tmp_path / f"serving-{code}")
        await has_closed(stub.pid, 3)  # signals are taken from before that on
        stub.send_signal(signal.SIGHUP)
        await appears(tmp_path / "hangup")
        assert stub.poll() is None
        stub.send_signal(signal.SIGTERM)
        assert await trio.to_thread.run_sync(stub.wait) == code
    finally:
        stub.kill()
        stub.wait()
        if stub.stdout is not None:
            stub.stdout.close()


def test_what_a_chain_before_has_left_is_forgotten(tmp_path):
    """Its number may be somebody else's by now."""
    write_pid(tmp_path)
    forget_pid(tmp_path)
    assert read_pid(tmp_path) is None
    forget_pid(tmp_path)
