"""Waits for a processor are noted, and what they are subtracted from is only the time they share."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import trio

from tests.support.metronome import Wait, Waits, run_metronome

SPIN = "import os, sys\nos.sched_setaffinity(0, {int(sys.argv[1])})\nwhile True: pass"


def test_only_the_time_in_common_counts():
    """A wait counts as far as it lies within, and never for more than it was."""
    waits = Waits()
    waits.noted += [Wait(1.0, 1.5, 0.4), Wait(3.0, 3.5, 0.5)]
    assert waits.within(0.0, 1.0) == 0.0
    assert waits.within(0.5, 2.0) == pytest.approx(0.4)
    assert waits.within(1.4, 3.25) == pytest.approx(0.1 + 0.25)


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="the kernel does not count waits")
async def test_a_process_that_shares_its_processor_waits():
    """Two that never rest on one processor: each waits half of the time."""
    processor = str(min(os.sched_getaffinity(0)))
    command = [sys.executable, "-I", "-S", "-c", SPIN, processor]
    spinning = [await trio.lowlevel.open_process(command) for _ in range(2)]
    try:
        began = trio.current_time()
        async with run_metronome([spinning[0].pid]) as waits:
            while waits.within(began, trio.current_time()) < 0.2:
                await trio.sleep(0.01)
    finally:
        for process in spinning:
            process.kill()
            await process.wait()
