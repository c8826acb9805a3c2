"""The link to the data plane in this very process: each message is a call, and each answer is there when it returns.

What control knows by `Backend` the data plane knows by `Candidate`; only ids go from one to the other here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hotswap.core.pool.backend import Backend
from hotswap.core.pool.candidate import Candidate
from hotswap.core.pool.pool import Pool
from hotswap.core.pool.reports import BackendIdle, Ejected, Report
from hotswap.core.pool.view import Applied, PoolView
from hotswap.core.pool.withdrawal import Released

if TYPE_CHECKING:
    from hotswap.core.config import PoolTable
    from hotswap.core.http.exchange_view import ExchangeView
    from hotswap.core.pool.counts import PoolCounts
    from hotswap.edge.dataplane import DataPlane


class LocalLink:
    """Control's end of it, a `hotswap.control.pools.surroundings.Plane`; the other end is a data plane."""

    def __init__(self, plane: DataPlane) -> None:
        self._plane = plane
        self._pools: dict[str, Pool] = {}

    # Pools.

    def add_pool(self, pool: Pool, table: PoolTable) -> None:
        """Have a pool served from now on, and tell of every change; a known one only has another definition."""
        known = self._pools.get(pool.name)
        if known is pool:
            self._plane.configure_pool(pool.name, table)
            return
        if known is not None:
            known.publish_to(None)
        self._pools[pool.name] = pool
        self._plane.add_pool(pool.view(), table, lambda report: self._hear(pool, report))
        pool.publish_to(self._publish)

    def drop_pool(self, name: str) -> None:
        """Have a pool served no more; what is held is turned away, what is in flight is cut."""
        pool = self._pools.pop(name, None)
        if pool is not None:
            pool.publish_to(None)
        self._plane.drop_pool(name)

    def _publish(self, view: PoolView) -> Applied | None:
        try:
            return self._plane.apply(view)
        except Exception as error:  # a defect there must not break off what control is in the middle of
            self._plane.on_crash(error, "view")
            return None

    def _hear(self, pool: Pool, report: Report) -> None:
        match report:
            case BackendIdle(backend=backend, version=version):
                pool.note_idle(backend, version)
            case Ejected(backend=backend, seconds=seconds):
                pool.note_ejected(backend, seconds)

    # Backends.

    def _candidate(self, backend: Backend) -> Candidate | None:
        return self._plane.candidate(backend.pool, backend.id)

    def in_flight(self, backend: Backend) -> int:
        candidate = self._candidate(backend)
        return 0 if candidate is None else candidate.in_flight

    def served(self, backend: Backend) -> int:
        candidate = self._candidate(backend)
        return 0 if candidate is None else candidate.served

    def connections_to(self, backend: Backend) -> int:
        """Count the open connections to a backend, idle ones included."""
        candidate = self._candidate(backend)
        return 0 if candidate is None else self._plane.connections_to(candidate)

    def close_idle(self, backend: Backend) -> int:
        candidate = self._candidate(backend)
        return 0 if candidate is None else self._plane.close_idle(candidate)

    def close_tunnels(self, backend: Backend, *, within: float) -> int:
        candidate = self._candidate(backend)
        return 0 if candidate is None else self._plane.close_tunnels(candidate, within=within)

    async def exchanges_in(self, backend: Backend) -> list[ExchangeView]:
        candidate = self._candidate(backend)
        return [] if candidate is None else self._plane.exchanges_in(candidate)

    async def release(self, backend: Backend, *, deadline: float, leave_within: float = 0.0) -> Released:
        candidate = self._candidate(backend)
        if candidate is None:
            return Released()
        return await self._plane.release(candidate, deadline=deadline, leave_within=leave_within)

    # Counts.

    def pool_counts(self, name: str) -> PoolCounts:
        return self._plane.pool_counts(name)

    def restart_longest_hold(self, name: str) -> None:
        self._plane.restart_longest_hold(name)
