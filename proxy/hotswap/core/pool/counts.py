"""What a data plane has counted for a pool, and how the pool stands there."""

from __future__ import annotations

from dataclasses import dataclass

from hotswap.core.pool.outlook import Outlook


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolCounts:
    """The counts of a pool, to take differences from, and its state now.

    Attributes:
        retried, held, cut: exchanges that were sent to a second backend, had to wait for one, were ended by force.
        tunnels_closed: closed in order, because their backend's time was nearly over.
        longest_hold: the longest wait of any, in seconds, since it was last restarted.
        waiting: exchanges that wait for a backend now.
        spooled: bytes of bodies that wait in files now.
        outlook: what a request can expect now.
    """

    retried: int = 0
    held: int = 0
    cut: int = 0
    tunnels_closed: int = 0
    longest_hold: float = 0.0
    waiting: int = 0
    spooled: int = 0
    outlook: Outlook = Outlook.HOPELESS
