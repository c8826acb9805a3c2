"""A compatibility number that could not be read when its code was started is read again until it can be.

Without it every reload would be refused for as long as the process lives, for a machine that was busy for a moment.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import trio

from hotswap.control.pools.compatibility import read_compatibility
from hotswap.core.compatibility import Unreadable

if TYPE_CHECKING:
    from hotswap.control.pools.supervised_pool import SupervisedPool

FIRST_WAIT = 1.0
LONGEST_WAIT = 60.0
"""Seconds between two attempts; the wait doubles with each."""


async def read_number_again(pool: SupervisedPool) -> None:
    """Read the number of what a pool runs until it can be read, or until the pool runs something else.

    **Cancellation**: the number stays unreadable.
    """
    release = pool.release
    told, wait = "", FIRST_WAIT
    while isinstance(number := release.compatibility, Unreadable) and pool.release is release:
        if number.detail != told:
            told = number.detail
            detail = "reloads are refused until it can be read; it is tried again"
            pool.log.warning("compatibility.unreadable", reason=told, detail=detail)
        await trio.sleep(wait)
        wait = min(2 * wait, LONGEST_WAIT)
        again = await read_compatibility(
            release.table.compatibility,
            directory=release.directory,
            environment=release.environment,
            guardian=pool.surroundings.guardian,
        )
        if pool.release is release:
            release = pool.amend_release(release, replace(release, compatibility=again))
    if pool.release is release:
        pool.log.info("compatibility.read", number=str(release.compatibility))
