"""What the guardian runs, by itself: what it reads, and whom it may signal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from hotswap.processes.guard import FAREWELL, guard, members_of, signal_group, start_time_of

SLEEPER = [sys.executable, "-c", "import time; time.sleep(60)"]


def say(*lines: bytes) -> int:
    """Be a proxy that says this and is gone; gives how many groups had to be ended."""
    reading, writing = os.pipe()
    try:
        for line in lines:
            os.write(writing, line)
        os.close(writing)
        return guard(reading)
    finally:
        os.close(reading)


def test_what_is_still_watched_at_the_end_is_ended():
    """Also when its line came in pieces, between lines that mean nothing."""
    with subprocess.Popen(SLEEPER, start_new_session=True) as backend:
        line = b"watch %d %d\n" % (backend.pid, start_time_of(backend.pid) or 0)
        assert say(b"what?\nwatch\nwatch x y\nforget z\n", line[:7], line[7:]) == 1
        assert backend.wait() == -signal.SIGTERM


@pytest.mark.parametrize("last", [b"forget %d\n", FAREWELL], ids=["forgotten", "farewell"])
def test_what_is_somebody_elses_is_left_alone(last):
    """One of them, or all."""
    with subprocess.Popen(SLEEPER, start_new_session=True) as backend:
        line = b"watch %d %d\n" % (backend.pid, start_time_of(backend.pid) or 0)
        assert say(line, last % backend.pid if b"%" in last else last) == 0
        assert members_of({backend.pid: 0}) == {backend.pid: [backend.pid]}
        backend.kill()


def test_a_number_that_was_given_to_somebody_else_is_not_signalled():
    """The time at which the leader was started says whose it is."""
    with subprocess.Popen(SLEEPER, start_new_session=True) as backend:
        start = start_time_of(backend.pid)
        assert start is not None
        assert not signal_group(backend.pid, start + 1, signal.SIGKILL)
        assert signal_group(backend.pid, start, signal.SIGKILL)


def test_a_process_that_is_gone_has_no_start_time():
    """And a living one always the same."""
    assert start_time_of(os.getpid()) == start_time_of(os.getpid()) is not None
    assert start_time_of(2**22 - 1) is None


@pytest.mark.parametrize("group", [-1, 0, 1])
def test_numbers_that_mean_many_processes_are_never_signalled(group):
    """To kill(2) they mean everybody, this group, or init."""
    assert not signal_group(group, 1, signal.SIGKILL)
