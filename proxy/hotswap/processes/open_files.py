"""Limit of open files: raised to the hard limit for the proxy, restored for its children.

The soft limit is low (1,024 mostly) for programs that use select(2), and meant to be raised by those that do not. What
is started from here may use it, so its own limit is what ours was.
"""

from __future__ import annotations

import resource
from contextlib import suppress
from typing import Final

GIVEN: Final = resource.getrlimit(resource.RLIMIT_NOFILE)
"""The soft and the hard limit at the start."""


def raise_limit() -> None:
    """Raise the soft limit to the hard one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # above what the kernel allows by now: it stays as it is
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def give_back_limit(pid: int) -> None:
    """Restore the original limits for a child that was just started."""
    with suppress(OSError):  # it has ended, or is another user's
        resource.prlimit(pid, resource.RLIMIT_NOFILE, GIVEN)
