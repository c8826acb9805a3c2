"""What the kernel says of a process."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

from hotswap.control.pools.process_facts import read_process

SLEEPER = "import sys; sys.stdin.read()"
PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {SLEEPER!r}])"


def resident(pid: int) -> int:
    """The resident bytes of one process, in another place of the kernel's."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace"))
    return int(found[1]) * 1024 if found else 0


def program(pid: int) -> str:
    """What a Python process runs."""
    return Path(f"/proc/{pid}/cmdline").read_text(encoding="ascii").rstrip("\0").rpartition("\0")[2]


def test_memory_is_that_of_the_kernel() -> None:
    """Of this process at least; other tests may have left children of it."""
    facts = read_process(os.getpid())
    assert facts is not None
    assert facts.memory >= resident(os.getpid()) * 0.8


def test_uptime_counts_from_the_start_of_the_process_and_workers_count_as_memory() -> None:
    """A server with a master and workers is as large as all of them."""
    before = time.monotonic()
    with subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE) as parent:
        children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
        while (
            not (found := children.read_text(encoding="ascii").split())
            or program(int(found[0])) != SLEEPER  # it is still its parent's copy, and about to become small
            or resident(int(found[0])) < 4_000_000
        ):
            assert parent.poll() is None
        alone = resident(parent.pid)  # which only grows; the kernel's counts lag by some pages
        facts = read_process(parent.pid)
        assert facts is not None
        assert facts.memory >= alone + 3_000_000
        assert 0 <= facts.uptime <= time.monotonic() - before + 0.1


def test_a_process_that_is_gone_has_none() -> None:
    """Nothing is raised."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert read_process(gone.pid) is None
