"""When the machine had no processor left for us: a process that watches those that a delay can be due to.

A delay that a client sees on a small machine that is busy with something else says nothing about the proxy. The kernel
counts, for each process, how long it was runnable and did not run. The metronome reads these counts many times a second
for the processes of a test (its own, the proxy, the backends), so that a delay can be told from a wait for a processor.
A proxy that holds a request, sleeps, blocks on a file or calculates is not excused by it: none of this is waiting for a
processor.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

BEAT = 0.01
"""Seconds between two looks."""

WORTH_NOTING = 0.002
"""Seconds of waiting between two looks that are noted; below that it is everyday."""

_PROGRAM = f"""
import os, sys, time
roots = sys.argv[1:]
tick = os.sysconf("SC_CLK_TCK")
def children(pid):
    try:
        with open(f"/proc/{{pid}}/task/{{pid}}/children") as file:
            return file.read().split()
    except OSError:
        return []
def waited(pid):
    try:
        with open(f"/proc/{{pid}}/schedstat") as file:
            return int(file.read().split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0
def stolen():
    # What a hypervisor gave to others, on the processor that lost most.
    with open("/proc/stat") as file:
        return [int(line.split()[8]) / tick for line in file if line.startswith("cpu")][1:]
seen, last, refreshed, gone = {{}}, time.monotonic(), 0, stolen()
print(flush=True)
while True:
    now = time.monotonic()
    if now - refreshed > 0.25:
        below, refreshed = [child for root in roots[1:] for child in children(root)], now
    counts = {{pid: waited(pid) for pid in (*roots, *below)}}
    waits = {{pid: max(0, count - seen.get(pid, count)) for pid, count in counts.items()}}
    gone_now = stolen()
    # A request passes through client, proxy and one backend, one after the other.
    wait = sum(waits[pid] for pid in roots) + max((waits[pid] for pid in below), default=0)
    wait += max(map(float.__sub__, gone_now, gone), default=0)
    # The last: not even this process got its turn.
    wait = min(max(wait, now - last - {BEAT}), now - last)
    if wait > {WORTH_NOTING}:
        print(last, now, wait, flush=True)
    seen, last, gone = counts, now, gone_now
    time.sleep({BEAT})
"""


@dataclass(frozen=True, slots=True)
class Wait:
    """A short time, by the clock of trio, and for how many seconds of it somebody waited for a processor."""

    began: float
    ended: float
    seconds: float


class Waits:
    """The waits for a processor that were noted so far."""

    def __init__(self) -> None:
        self.noted: list[Wait] = []

    def within(self, began: float, ended: float) -> float:
        """How many seconds of this time were waits for a processor."""
        total = 0.0
        for wait in self.noted:
            if wait.ended > began and wait.began < ended:
                total += min(wait.seconds, min(ended, wait.ended) - max(began, wait.began))
        return total


@asynccontextmanager
async def run_metronome(processes: Iterable[int] = ()) -> AsyncIterator[Waits]:
    """Note waits for a processor for the time of the block.

    Args:
        processes: whom to watch besides this process; their children are watched too.
    """
    waits = Waits()
    watched = [str(pid) for pid in (os.getpid(), *processes)]
    metronome = await trio.lowlevel.open_process(
        [sys.executable, "-I", "-S", "-c", _PROGRAM, *watched], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    )
    beating = trio.Event()
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_note, metronome, waits, beating)
            await beating.wait()
            yield waits
            nursery.cancel_scope.cancel()
    finally:
        metronome.kill()
        with trio.CancelScope(shield=True):
            await metronome.wait()


async def _note(metronome: trio.Process, waits: Waits, beating: trio.Event) -> None:
    assert metronome.stdout is not None
    # Both clocks are the monotonic one of the kernel, at a constant distance.
    offset = trio.current_time() - time.monotonic()
    rest = b""
    async for data in metronome.stdout:
        beating.set()
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            if line.strip():
                began, ended, seconds = map(float, line.split())
                waits.noted.append(Wait(began + offset, ended + offset, seconds))
