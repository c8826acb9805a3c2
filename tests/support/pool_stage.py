"""A supervised or static pool without the rest of the proxy: real processes behind a data plane that relays nothing."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Collection, Iterator, MutableMapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog
import trio

from hotswap.control.pools.release import read_release
from hotswap.control.pools.supervised_pool import SupervisedPool
from hotswap.control.pools.surroundings import Surroundings
from hotswap.control.rollout.rollouts import RolloutRun
from hotswap.control.telemetry.events import EventLog
from hotswap.core.config import PoolTable, SupervisedPoolTable
from hotswap.core.http.exchange_view import ExchangeView
from hotswap.core.identity import BackendId, RolloutId
from hotswap.core.pool.backend import Backend
from hotswap.core.pool.candidate import Candidate
from hotswap.core.pool.claims import Claims
from hotswap.core.pool.counts import PoolCounts
from hotswap.core.pool.pool import Pool
from hotswap.core.pool.withdrawal import Released, Withdrawal, WithdrawalAct
from hotswap.core.rollout.queue import QueuedSlot, plan_queue
from hotswap.core.rollout.rollout import Rollout
from hotswap.core.tally import Tally
from hotswap.edge.upstream.probe import probe
from hotswap.processes.listening import open_directory
from tests.support.hotswap import SOURCES


@dataclass(slots=True)
class StillPlane:
    """A data plane that relays nothing: connections and exchanges are what a test says.

    `idle` are open connections by backend; `taken` are exchanges a test has claimed and not released, and `cuts` counts
    those that were cut; `defective` makes what it is asked for raise.
    """

    tables: dict[str, PoolTable] = field(default_factory=dict)
    idle: dict[BackendId, int] = field(default_factory=dict)
    taken: list[tuple[Pool, Backend]] = field(default_factory=list)
    pools: dict[str, Pool] = field(default_factory=dict)
    claims: dict[str, Claims] = field(default_factory=dict)
    cuts: int = 0
    defective: bool = False
    ended: trio.Event = field(default_factory=trio.Event)

    def add_pool(self, pool: Pool, table: PoolTable) -> None:
        """Know a pool."""
        self.tables[pool.name] = table
        if self.pools.get(pool.name) is pool:
            return
        self.pools[pool.name] = pool

        def note_released(candidate: Candidate) -> None:
            if not candidate.in_flight:
                pool.note_idle(candidate.id, claims.view.version)

        claims = self.claims[pool.name] = Claims(pool.view(), on_released=note_released)
        pool.publish_to(claims.apply)

    def drop_pool(self, name: str) -> None:
        """Forget it."""
        self.pools[name].publish_to(None)
        del self.pools[name], self.tables[name], self.claims[name]

    def in_flight(self, backend: Backend) -> int:
        """The exchanges that were claimed."""
        return sum(taken is backend for _, taken in self.taken)

    def served(self, backend: Backend) -> int:
        """The exchanges that were claimed so far."""
        candidate = self.claims[backend.pool].candidates.get(backend.id)
        return 0 if candidate is None else candidate.served

    def connections_to(self, backend: Backend) -> int:
        """Idle ones, and one for each exchange."""
        return self.idle.get(backend.id, 0) + sum(taken is backend for _, taken in self.taken)

    def close_idle(self, backend: Backend) -> int:
        """Close the idle ones."""
        if self.defective:
            raise ZeroDivisionError
        closed = self.idle.pop(backend.id, 0)
        if closed:
            self._note_ended()
        return closed

    def _note_ended(self) -> None:
        self.ended.set()
        self.ended = trio.Event()

    def close_tunnels(self, backend: Backend, *, within: float) -> int:
        """There are none."""
        return 0

    async def release(self, backend: Backend, *, deadline: float, leave_within: float = 0.0) -> Released:
        """Wait for what a test has claimed, then cut the rest."""
        withdrawal, cut = Withdrawal(deadline=deadline, leave_within=leave_within), 0
        views: list[ExchangeView] = []
        while True:
            ended = self.ended
            acts = withdrawal.advance(
                now=trio.current_time(), in_flight=self.in_flight(backend), connections=self.connections_to(backend)
            )
            if WithdrawalAct.CUT in acts:
                views += await self.exchanges_in(backend)
                cut += self.cut(backend)
            if WithdrawalAct.CLOSE_IDLE in acts:
                self.close_idle(backend)
            if self.defective:
                raise ZeroDivisionError
            if WithdrawalAct.ANSWER in acts:
                break
            with trio.move_on_at(withdrawal.look_at):
                await ended.wait()
        return Released(cut=cut, exchanges=tuple(views))

    async def exchanges_in(self, backend: Backend) -> list[ExchangeView]:
        """Name them, as if each were the same request."""
        view = ExchangeView(
            request_line="GET /slow", client="192.0.2.1", age=1.5, request_bytes=0, response_bytes=4096, tunnel=False
        )
        return [view for _, taken in self.taken if taken is backend]

    def cut(self, backend: Backend) -> int:
        """End the exchanges."""
        ended = [(pool, taken) for pool, taken in self.taken if taken is backend]
        self.taken = [(pool, taken) for pool, taken in self.taken if taken is not backend]
        for pool, taken in ended:
            self._release(pool, taken)
        self.cuts += len(ended)
        return len(ended)

    def pool_counts(self, name: str) -> PoolCounts:
        """Give how many were cut."""
        if self.defective:
            raise ZeroDivisionError
        return PoolCounts(cut=self.cuts)

    def restart_longest_hold(self, _name: str) -> None:
        """Nothing is ever held."""

    def claim(self, pool: Pool, slot: int) -> Backend:
        """Put an exchange in flight in the backend of a slot."""
        others = [backend.id for backend in pool.backends if backend.slot != slot]
        backend = self.claim_any(pool, others)
        assert backend is not None
        return backend

    def claim_any(self, pool: Pool, excluding: Collection[BackendId] = ()) -> Backend | None:
        """Put an exchange in flight, if there is a backend for it."""
        candidate = self.claims[pool.name].claim(excluding)
        if candidate is None:
            return None
        backend = next(one for one in pool.backends if one.id == candidate.id)
        self.taken.append((pool, backend))
        return backend

    def finish(self, backend: Backend) -> None:
        """Let one exchange of a backend end."""
        entry = next(entry for entry in self.taken if entry[1] is backend)
        self.taken.remove(entry)
        self._release(*entry)

    def _release(self, pool: Pool, backend: Backend) -> None:
        claims = self.claims.get(pool.name)
        self._note_ended()
        if claims is not None and backend.id in claims.candidates:
            claims.release(claims.candidates[backend.id])


@dataclass(slots=True, kw_only=True)
class Stage:
    """One pool that runs.

    Attributes:
        pool: it.
        plane: what it speaks to.
        surroundings: the same and the rest.
        log: what was logged, newest last.
    """

    pool: SupervisedPool
    plane: StillPlane
    surroundings: Surroundings
    log: list[dict[str, Any]]

    def kinds(self) -> list[str]:
        """The kinds of every event so far."""
        return [event.kind for event in self.surroundings.events.recent()]

    def logged(self, event: str) -> list[dict[str, Any]]:
        """The records of one name."""
        return [record for record in self.log if record["event"] == event]

    def pids(self) -> dict[int, int | None]:
        """Process ids by slot, of backends in rotation."""
        return {backend.slot: backend.pid for backend in self.pool.core.backends if backend.slot in self.ready}

    @property
    def ready(self) -> frozenset[int]:
        """Slots with a backend that can be claimed."""
        return self.pool.core.ready_slots()

    async def wait(self, condition: Callable[[], bool]) -> None:
        """Block until a condition holds; it is looked at whenever an event was published."""
        with self.surroundings.events.subscribe() as events:
            while not condition():
                await anext(events)

    async def wait_full(self) -> None:
        """Block until every slot is ready."""
        await self.wait(lambda: self.pool.first_start.full)

    async def plan(self, table: SupervisedPoolTable | None = None) -> RolloutRun:
        """Prepare a rollout to the release that the table describes now; its slots go from 0 on, those that stay."""
        pool = self.pool
        table = table or pool.table
        release = await read_release(pool.name, table, environment=self.surroundings.environment)
        kept = min(pool.core.size, table.slots(2))
        queue = [
            QueuedSlot(slot=number, generation=slot.generation)
            for number, slot in sorted(pool.slots.items())
            if number < kept
        ]
        rollout = Rollout(
            id=RolloutId("r1"),
            pool=pool.name,
            trigger="test",
            strategy=table.rollout.strategy,
            on_failure=table.rollout.on_failure,
            generation=pool.releases.add(release),
            queue=plan_queue(queue, table.rollout.order.OLDEST_FIRST, lambda _: None),
            size=pool.core.size,
            started=datetime.now(UTC),
            now=trio.current_time(),
        )
        return RolloutRun(pool, rollout)

    async def roll(self, table: SupervisedPoolTable | None = None) -> Rollout:
        """Roll the pool and give the rollout when it has ended."""
        run = await self.plan(table)
        await run.perform()
        return run.rollout


def supervised_table(directory: Path, *command: str, **settings: object) -> SupervisedPoolTable:
    """A pool of `python -m COMMAND` with short times; `settings` are keys of the table."""
    values: dict[str, object] = {
        "server": "command",
        "command": [sys.executable, "-m", *(command or ("faulty.plain",))],
        "directory": str(directory),
        "size": 2,
        "environment": {"PYTHONPATH": SOURCES},
        "health": {"interval": "100ms"},
        "start_timeout": "10s",
        "drain_timeout": "10s",
        "stop_timeout": "10s",
    }
    return SupervisedPoolTable.model_validate(values | settings)


@contextmanager
def captured_log() -> Iterator[tuple[Any, list[dict[str, Any]]]]:
    """A log and what was written to it."""
    records: list[dict[str, Any]] = []

    def keep(_logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        records.append({"level": method, **event})
        raise structlog.DropEvent

    everything = structlog.make_filtering_bound_logger(0)
    yield structlog.wrap_logger(None, processors=[keep], wrapper_class=everything), records


@asynccontextmanager
async def open_surroundings(plane: StillPlane) -> AsyncIterator[tuple[Surroundings, list[dict[str, Any]]]]:
    """Everything that a pool needs, with real probes and processes and jitter that is always 0."""
    # Not pytest's own directory: paths of Unix sockets have to be short.
    sockets = open_directory(Path(tempfile.mkdtemp(prefix="hotswap-")))
    try:
        with captured_log() as (log, records):
            yield (
                Surroundings(
                    plane=plane,
                    probe=probe,
                    events=EventLog(),
                    tally=Tally(),
                    log=log,
                    guardian=None,
                    sockets=sockets,
                    environment=dict(os.environ),
                    jitter=lambda: 0.0,
                ),
                records,
            )
    finally:
        shutil.rmtree(sockets)


@asynccontextmanager
async def open_pool(table: SupervisedPoolTable, *, full: bool = True) -> AsyncIterator[Stage]:
    """Run a supervised pool "web" while the block runs; with `full`, the block begins when every slot is ready."""
    plane = StillPlane()
    async with open_surroundings(plane) as (surroundings, log), trio.open_nursery() as nursery:
        release = await read_release("web", table, environment=surroundings.environment)
        pool = SupervisedPool("web", release, surroundings, processors=2)
        stage = Stage(pool=pool, plane=plane, surroundings=surroundings, log=log)
        await nursery.start(pool.serve)
        if full:
            await stage.wait_full()
        try:
            yield stage
        finally:
            with trio.move_on_after(5) as patience:
                patience.shield = True
                for member in pool.members:
                    member.process.kill()
                await pool.stop(drain_timeout=0)
            nursery.cancel_scope.cancel()
