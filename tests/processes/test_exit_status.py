"""How a process ended, as the kernel tells it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from hotswap.processes.exit_status import Exit, reap


@pytest.mark.parametrize(
    ("code", "expected"),
    [("import sys; sys.exit(3)", Exit(code=3)), ("import os; os.kill(os.getpid(), 9)", Exit(signal=signal.SIGKILL))],
)
def test_a_child_that_has_ended_says_how(code, expected):
    """And is forgotten by the kernel."""
    child = subprocess.Popen([sys.executable, "-c", code])
    pidfd = os.pidfd_open(child.pid)
    os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOWAIT)
    assert reap(pidfd) == expected
    assert reap(pidfd) == Exit()
    os.close(pidfd)
    child.returncode = 0  # it was waited for here


def test_of_whoever_is_no_child_nothing_is_known():
    """Its status goes to its parent alone; one that lives has none."""
    for pid in (1, os.getpid()):
        pidfd = os.pidfd_open(pid)
        assert reap(pidfd) == Exit()
        os.close(pidfd)
