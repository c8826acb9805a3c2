"""Free file descriptors of this process, as the kernel's limits and counts say.

A new descriptor gets the lowest number that is free, so its number tells how many are open at least: nothing is counted
by us, and descriptors that others opened (files, backends, the admin API) are in it.
"""

from __future__ import annotations

import errno
import os
import resource
import sys
from collections.abc import Callable
from typing import Final

from hotswap.core.room import client_descriptors, upstream_descriptors

OURS: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
"""Why opening or connecting a socket fails when it is this process or machine that has nothing left, whoever it is for.
A want of ports (EADDRNOTAVAIL) is not among them: it is one of ports towards one address, and others may have some."""


def limit() -> int:
    """Maximum number of open descriptors of this process."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft if soft != resource.RLIM_INFINITY else sys.maxsize


def for_client(descriptor: int, held: Callable[[], int]) -> bool:
    """Whether a descriptor that was just opened leaves room for another client.

    `held` tells how many descriptors are of clients or to backends; it is asked only when it matters.
    """
    most = limit()
    return descriptor < client_descriptors(most) or (
        descriptor < most and descriptor < client_descriptors(most, others=max(0, descriptor - held()))
    )


def for_upstream(descriptor: int) -> bool:
    """Whether a descriptor that was just opened may be a connection to a backend."""
    return descriptor < upstream_descriptors(limit())


def room_for_client(descriptor: int, held: Callable[[], int]) -> bool:
    """Whether another client can be accepted; `descriptor` is any that is open, `held` as of `for_client`."""
    try:
        next_one = os.dup(descriptor)
    except OSError:
        return False
    os.close(next_one)
    return for_client(next_one, held)
