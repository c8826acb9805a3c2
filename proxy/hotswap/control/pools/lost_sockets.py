"""Replaces backends whose Unix socket was removed: they are alive, and no new connection reaches them.

The path of a Unix socket is the only way to it, and it cannot be made again for a socket that exists. So such a
backend finishes what it has begun over the connections that there are, and another one takes its slot at once.
"""

from __future__ import annotations

from collections.abc import Mapping

import trio

from hotswap.control.pools.static_pool import StaticPool
from hotswap.control.pools.supervised_backend import StartReason, SupervisedBackend
from hotswap.control.pools.supervised_pool import SupervisedPool
from hotswap.core.address import UnixAddress
from hotswap.core.pool.lifecycle import BackendState
from hotswap.processes.listening import is_socket


async def replace_unreachable(
    pools: Mapping[str, SupervisedPool | StaticPool], allowed: trio.Event | None = None
) -> None:
    """Replace every backend of these pools that is in rotation and whose socket is gone, once that is allowed."""
    if allowed is not None:
        await allowed.wait()
    for pool in pools.values():
        # A rollout that runs replaces them itself.
        if isinstance(pool, StaticPool) or pool.stopping or pool.run is not None:
            continue
        for member in filter(_is_unreachable, pool.members):
            member.log.error("backend.unreachable", detail="its socket was removed; it is replaced")
            pool.members.end_soon(member)
            slot = pool.slots.get(member.backend.slot)
            if slot is not None and pool.core.locked is None:
                pool.filler.fill(slot, StartReason.REFILL)


def _is_unreachable(member: SupervisedBackend) -> bool:
    address = member.backend.address
    serves = member.backend.state is BackendState.READY
    return serves and isinstance(address, UnixAddress) and not is_socket(address.path)
