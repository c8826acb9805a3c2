"""All pools of the proxy: started, reconfigured, and ended when the configuration no longer has them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import trio

from hotswap.control.pools.release import Release
from hotswap.control.pools.static_pool import StaticPool
from hotswap.control.pools.supervised_pool import SupervisedPool
from hotswap.control.pools.surroundings import Surroundings
from hotswap.core.config import PoolTable, StaticPoolTable
from hotswap.core.errors import BackendError, NotFound, PoolNotStarted, StartFailed
from hotswap.core.pool.backend import Backend
from hotswap.core.pool.events import PoolEvent

AnyPool = SupervisedPool | StaticPool

END_TIMEOUT = 15.0
"""Seconds beyond its `stop_timeout` that a backend may take to end: connections are cut, and a kill is waited for."""

END_POLL = 0.05


class PoolSet(Mapping[str, AnyPool]):
    """The pools by name, and the tasks they run in."""

    def __init__(self, *, processors: int, observer: Callable[[PoolEvent], None]) -> None:
        """Begin with none, and so many processors for sizes of "auto"; every change in any is told to the observer."""
        self._processors = processors
        self._observer = observer
        self._pools: dict[str, AnyPool] = {}
        self._scopes: dict[AnyPool, trio.CancelScope] = {}
        self._leaving: dict[str, tuple[AnyPool, trio.CancelScope]] = {}
        self._trial: dict[str, AnyPool] = {}

    def __getitem__(self, name: str) -> AnyPool:
        """Give a pool.

        Raises:
            NotFound: there is none of this name.
        """
        try:
            return self._pools[name]
        except KeyError:
            raise NotFound("pool", name, self._pools) from None

    def __contains__(self, name: object) -> bool:
        return name in self._pools

    def get(self, name: str, default: AnyPool | None = None) -> AnyPool | None:  # type: ignore[override]
        """Give a pool, or the default."""
        return self._pools.get(name, default)

    def __iter__(self) -> Iterator[str]:
        return iter(self._pools)

    def __len__(self) -> int:
        return len(self._pools)

    def supervised(self) -> list[SupervisedPool]:
        """Give those whose backends are processes of this proxy."""
        return [pool for pool in self._pools.values() if isinstance(pool, SupervisedPool)]

    def leaving(self, name: str) -> AnyPool | None:
        """Give a pool that the configuration has no more and that is not gone yet; it can still be taken back."""
        found = self._leaving.get(name)
        return None if found is None else found[0]

    def find(self, name: str) -> AnyPool | None:
        """Give a pool of this name, one that is leaving too; None when there is none."""
        return self._pools.get(name) or self.leaving(name)

    def missing(self, tables: Mapping[str, PoolTable]) -> dict[str, PoolTable]:
        """Give those of these pools that are not there, neither leaving nor on trial."""
        return {name: table for name, table in tables.items() if self.find(name) is None and name not in self._trial}

    @property
    def proving(self) -> bool:
        """Pools that are new are on trial."""
        return bool(self._trial)

    async def prove(
        self,
        tables: Mapping[str, PoolTable],
        releases: Mapping[str, Release],
        surroundings: Surroundings,
        nursery: trio.Nursery,
        *,
        static: bool,
    ) -> None:
        """Start pools that are new and block until all are up; `apply` makes them pools, `end_trial` ends them.

        Args:
            tables: the pools.
            releases: what the backends of supervised ones are started from.
            surroundings, nursery: what they need, and where they run.
            static: static pools have to answer too; else they are somebody else's, and may be down.

        Raises:
            PoolNotStarted: one of them did not come up.

        **Cancellation**: they run on until `end_trial`.
        """
        for name, table in tables.items():
            self._trial[name] = pool = self._make(name, table, releases, surroundings)
            self._run(pool, nursery)
        failures: list[PoolNotStarted] = []

        async def wait(pool: AnyPool) -> None:
            try:
                await (pool.first_start.wait() if isinstance(pool, SupervisedPool) else pool.wait_proven())
            except BackendError as error:
                output = error.output if isinstance(error, StartFailed) else ()
                failures.append(PoolNotStarted(pool.name, error.detail, output))
                proof.cancel_scope.cancel()

        async with trio.open_nursery() as proof:
            for pool in tuple(self._trial.values()):
                if static or isinstance(pool, SupervisedPool):
                    proof.start_soon(wait, pool)
        if failures:
            raise failures[0]

    def end_trial(self, nursery: trio.Nursery) -> None:
        """End the pools that were on trial and have not been taken over."""
        for pool in self._trial.values():
            nursery.start_soon(self._end_one_on_trial, pool)
        self._trial = {}

    async def _end_one_on_trial(self, pool: AnyPool) -> None:
        await self._stop(pool, 0.0)
        if self.find(pool.name) is None and pool.name not in self._trial:
            pool.surroundings.plane.drop_pool(pool.name)

    def apply(
        self,
        tables: Mapping[str, PoolTable],
        releases: Mapping[str, Release],
        surroundings: Surroundings,
        nursery: trio.Nursery,
    ) -> tuple[str, ...]:
        """Start pools that are new, change static ones that have changed; waits for nothing.

        Supervised pools that exist stay as they are, because their definition changes with a rollout. One that was
        about to leave goes on with what it has left.

        Args:
            tables: every pool there is to be.
            releases: what the backends of new supervised pools are started from.
            surroundings, nursery: what they need, and where they run.

        Returns:
            What changed, in words.
        """
        changes = []
        for name, table in tables.items():
            known = self._pools.get(name)
            if known is None and (known := self._take_back(name)) is not None:
                changes.append(f"pool {name} goes on")
            if known is None:
                if name in self._trial:
                    self._pools[name] = self._trial.pop(name)
                else:
                    self.take_in(self._make(name, table, releases, surroundings), nursery)
                changes.append(f"pool {name} added")
            elif isinstance(known, StaticPool) and isinstance(table, StaticPoolTable) and known.table != table:
                known.reconfigure(table)
                changes.append(f"pool {name} changed")
        return tuple(changes)

    def drop(
        self, tables: Mapping[str, PoolTable], nursery: trio.Nursery, *, static_drain_timeout: float
    ) -> tuple[str, ...]:
        """Begin to end the pools that are not to be any more; call when no route names them.

        Args:
            tables: every pool there is to be.
            nursery: where they are ended.
            static_drain_timeout: seconds for what is in flight in static pools, which have no time of their own.

        Returns:
            What changed, in words.
        """
        gone = [name for name in self._pools if name not in tables]
        earlier = self._pools[gone[0]].surroundings.predecessor if gone else None
        if earlier is not None:
            # Its routes still name them, and what comes over its idle connections would wait there in vain.
            earlier.close_idle_clients()
        for name in gone:
            pool, leaving = self._pools.pop(name), trio.CancelScope()
            self._leaving[name] = pool, leaving
            nursery.start_soon(self._remove, pool, leaving, static_drain_timeout)
        return tuple(f"pool {name} removed" for name in gone)

    def _take_back(self, name: str) -> AnyPool | None:
        """Have a pool go on that was leaving; None when there is none of this name."""
        found = self._leaving.pop(name, None)
        if found is None:
            return None
        pool, leaving = found
        leaving.cancel()
        self._pools[name] = pool
        pool.log.info("pool.goes_on")
        pool.go_on()
        return pool

    async def stop_all(self) -> None:
        """End every backend, those of pools that are on their way out too; nothing in flight is waited for."""
        async with trio.open_nursery() as nursery:
            for pool in tuple(self._scopes):
                nursery.start_soon(self._stop, pool, 0.0)

    def longest_stop_timeout(self) -> float:
        """Give the longest time, in seconds, that a backend may take to stop."""
        return max(
            (pool.table.stop_timeout for pool in self._scopes if isinstance(pool, SupervisedPool)),
            default=0.0,
        )

    def own_backends(self) -> int:
        """Count the processes that this proxy has to end, those of pools on their way out too."""
        pools = (pool for pool in self._scopes if isinstance(pool, SupervisedPool))
        return sum(not member.handed_over for pool in pools for member in pool.members)

    async def wait_own_ended(self) -> None:
        """Block until there are none, for as long as ending them may take; call when nothing is in flight any more."""
        with trio.move_on_after(self.longest_stop_timeout() + END_TIMEOUT):
            while self.own_backends():
                await trio.sleep(END_POLL)

    def complete(self) -> bool:
        """Tell whether the boot is over: what can serve does, and what cannot was tried.

        That is when every slot has been filled or has failed to start, and something serves, or nothing is there that
        could. Static addresses that are down are somebody else's.
        """
        settled = all(
            pool.settled if isinstance(pool, SupervisedPool) else pool.judged for pool in self._pools.values()
        )
        supervised = self.supervised()
        return settled and (not supervised or any(pool.core.ready_slots() for pool in self._pools.values()))

    def not_ready(self) -> list[str]:
        """Give the names of those that nothing can be claimed in."""
        return [name for name, pool in self._pools.items() if not pool.core.ready_slots()]

    def processes(self) -> list[int]:
        """Give the processes of all backends."""
        return [backend.pid for backend in self.backends() if backend.pid is not None]

    def backends(self) -> list[Backend]:
        """Give the backends of all pools."""
        return [backend for pool in self._pools.values() for backend in pool.core.backends]

    def _make(
        self, name: str, table: PoolTable, releases: Mapping[str, Release], surroundings: Surroundings
    ) -> AnyPool:
        if isinstance(table, StaticPoolTable):
            return StaticPool(name, table, surroundings)
        return SupervisedPool(name, releases[name], surroundings, processors=self._processors)

    def take_in(self, pool: AnyPool, nursery: trio.Nursery) -> None:
        """Start a pool, and have it from now on."""
        self._pools[pool.name] = pool
        self._run(pool, nursery)

    def _run(self, pool: AnyPool, nursery: trio.Nursery) -> None:
        self._scopes[pool] = scope = trio.CancelScope()
        # Before a route names it: a request for it is held from now on.
        pool.surroundings.plane.add_pool(pool.core, pool.table)
        pool.core.observe(self._observer)
        nursery.start_soon(self._serve, pool, scope)

    async def _serve(self, pool: AnyPool, scope: trio.CancelScope) -> None:
        try:
            with scope:
                await pool.serve()
        except Exception as error:
            pool.log.error("pool.crashed", exc_info=error)

    async def _stop(self, pool: AnyPool, drain_timeout: float) -> None:
        try:
            await self._end(pool, drain_timeout)
        finally:
            self._forget(pool)

    def _forget(self, pool: AnyPool) -> None:
        """End the tasks of a pool; it may be ended from two sides, by its removal and by the proxy's end."""
        scope = self._scopes.pop(pool, None)
        if scope is not None:
            scope.cancel()

    async def _end(self, pool: AnyPool, drain_timeout: float) -> None:
        try:
            await pool.stop(drain_timeout=drain_timeout)
        except Exception as error:
            pool.log.error("pool.crashed", exc_info=error)

    async def _remove(self, pool: AnyPool, leaving: trio.CancelScope, static_drain_timeout: float) -> None:
        pool.log.info("pool.removing")
        timeout = pool.table.drain_timeout if isinstance(pool, SupervisedPool) else static_drain_timeout
        with leaving:
            await self._end(pool, timeout)
        if pool.name not in self._leaving or self._leaving[pool.name][1] is not leaving:
            return  # it goes on
        del self._leaving[pool.name]
        self._forget(pool)
        pool.surroundings.plane.drop_pool(pool.name)
        pool.log.info("pool.removed")
        pool.surroundings.events.publish("pool.removed", pool=pool.name)
