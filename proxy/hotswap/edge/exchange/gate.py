"""The queue before one pool: a backend is claimed for an exchange, or the exchange is held, or turned away.

Held exchanges wait in one queue, first in, first out, bounded in number by `hold_limit` and in time by `hold_timeout`;
their bodies stay with the client. When backends become claimable the queue is let go `STEP` at a time, so that a
backend that has just started does not meet all of them at once.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Final, Protocol

import trio

from hotswap.core.http.retry import RetryBudget
from hotswap.core.http.spool import Spool
from hotswap.core.http.spool_room import SpoolRoom
from hotswap.core.pool.claims import Claims
from hotswap.core.pool.counts import PoolCounts
from hotswap.core.pool.lifecycle import BackendState
from hotswap.core.pool.outlook import Outlook
from hotswap.core.pool.reports import BackendIdle
from hotswap.core.pool.retry_after import StartTimes, retry_after
from hotswap.core.pool.traffic import Served
from hotswap.core.pool.view import Applied
from hotswap.core.pool.withdrawal import Released, Withdrawal, WithdrawalAct
from hotswap.core.tally import Histogram
from hotswap.edge.exchange.ejections import Ejections
from hotswap.edge.exchange.spool_file import SpoolFile
from hotswap.edge.loop.containment import Contained, contain
from hotswap.edge.loop.plane import LoopPlane
from hotswap.edge.loop.timers import NEVER, Timed
from hotswap.edge.upstream.h2c_upstream import H2cUpstream
from hotswap.edge.upstream.upstream import Upstream

if TYPE_CHECKING:
    from pathlib import Path

    from hotswap.core.config import PoolTable
    from hotswap.core.http.exchange_view import ExchangeView
    from hotswap.core.identity import BackendId
    from hotswap.core.pool.candidate import Candidate
    from hotswap.core.pool.pause_answer import PauseAnswer
    from hotswap.core.pool.reports import Report
    from hotswap.core.pool.view import PoolView
    from hotswap.core.tally import Tally

SPOOL_CALLS: Final = 4
"""Calls on files of a pool's bodies at the same time: a disk serves few at once, and each has a thread."""
FULL_WARNING_SECONDS: Final = 60.0
"""From one warning that there is no room for bodies to the next."""

STEP: Final = 64
"""Held exchanges let go at once; the next go at the next tick."""


class Claimant(Timed, Protocol):
    """An exchange, as the gate sees it; `on_deadline` follows when it was held for too long.

    Attributes:
        held_at: since when it is held, in seconds of the data plane's clock.
        held_seconds: for which it was held so far.
    """

    held_at: float
    held_seconds: float

    def on_let_in(self, upstream: Upstream) -> None:
        """A backend has been claimed for it, which was held."""

    def turn_away(self, why: str) -> None:
        """No backend takes it."""

    def on_paused(self, answer: PauseAnswer) -> None:
        """The pool is paused, and has an answer."""


class Unclaimed(Contained, Protocol):
    """An exchange that goes on without a backend: its request is not whole yet, or its client has yet to read."""

    def cut(self, why: str) -> None:
        """End by force."""


class GatePlane(LoopPlane, Protocol):
    """The data plane, as a gate sees it; `tally` is what is counted, `spool_directory` is for files of bodies."""

    tally: Tally
    spool_directory: Path | None

    def end_tunnels(self, backend: Candidate, error: str) -> None:
        """End the tunnels that a backend has."""

    def close_tunnels(self, backend: Candidate, *, within: float) -> int:
        """Have the tunnels to a backend closed in order, spread over so many seconds; gives how many there are."""

    def exchanges_in(self, backend: Candidate) -> list[ExchangeView]:
        """What is in flight in a backend, oldest first."""

    def cut(self, backend: Candidate, gate: Gate | None = None) -> int:
        """End by force what is in flight in a backend; gives how many exchanges."""


class Gate:
    """The data plane's side of one pool; `tell` takes what control has to know."""

    __slots__ = (
        "_closed",
        "_spool_calls",
        "_tell",
        "_waiting",
        "_warn_full_at",
        "apart",
        "armed",
        "budget",
        "buffers",
        "claims",
        "cut",
        "deadline",
        "ejections",
        "file_told_at",
        "held",
        "held_total",
        "longest_hold",
        "name",
        "plane",
        "request_duration",
        "retried",
        "room",
        "served",
        "starts",
        "table",
        "tunnels_closed",
        "upstream_duration",
        "upstreams",
    )

    def __init__(self, plane: GatePlane, view: PoolView, table: PoolTable, tell: Callable[[Report], None]) -> None:
        self.plane = plane
        self.name = view.pool
        self._tell = tell
        self.room = SpoolRoom(0, self._on_spool_full)
        self._spool_calls = trio.CapacityLimiter(SPOOL_CALLS)
        self._warn_full_at = -math.inf
        self.apart: set[Unclaimed] = set()
        self.configure(table)
        self.claims = Claims(view, on_room=self._on_room, on_released=self._on_released)
        self.held: deque[Claimant] = deque()
        self.file_told_at = -math.inf  # the log, of a file that cannot be answered
        self.held_total = self.retried = self.cut = self.tunnels_closed = 0
        self._closed = False
        self.longest_hold = 0.0
        self.budget = RetryBudget()
        self.request_duration = plane.tally.request_duration.setdefault(view.pool, Histogram())
        self.upstream_duration = plane.tally.upstream_duration.setdefault(view.pool, Histogram())
        self.served = Served()
        self.deadline, self.armed = math.inf, NEVER
        self.ejections = Ejections(plane, self.claims, tell)
        self.starts = StartTimes()
        self.upstreams: dict[BackendId, Upstream] = {}
        self._waiting: dict[BackendId, trio.Event] = {}  # of releases, each until something ends
        for backend in self.claims.candidates.values():
            self.upstreams[backend.id] = self._upstream_to(backend)

    def configure(self, table: PoolTable) -> None:
        """Serve by another definition of the pool from now on."""
        self.table = table
        self.buffers = table.buffers
        self.room.limit = table.spool

    def _upstream_to(self, backend: Candidate) -> Upstream:
        # By the backend, not by the table: while a pool changes over it has some of each.
        return (H2cUpstream if backend.h2c else Upstream)(self.plane, backend, self._wake)

    def counts(self) -> PoolCounts:
        """Totals so far."""
        return PoolCounts(
            retried=self.retried,
            held=self.held_total,
            cut=self.cut,
            longest_hold=self.longest_hold,
            tunnels_closed=self.tunnels_closed,
            waiting=len(self.held),
            spooled=self.room.filed,
            outlook=self.claims.outlook(),
        )

    def only_excluded(self, excluding: Collection[BackendId]) -> bool:
        """Whether every claimable backend is among those an exchange has failed with; true when there is none."""
        claims = self.claims
        return all(
            backend.id in excluding
            for backend in claims.candidates.values()
            if backend.claimable and not (backend.ejected and claims.left_out(backend))
        )

    def retry_after(self) -> bytes:
        """What `Retry-After` says to a request that is turned away now: when the pool will probably serve again."""
        now = self.plane.poller.now
        match self.claims.outlook():
            case Outlook.CLAIMABLE:
                estimate = 0.0
            case Outlook.BUSY:
                estimate = now - self.held[0].held_at if self.held else 0.0  # as long as the queue takes at present
            case _:
                estimate = self._seconds_to_start(now)
        return b"%d" % retry_after(estimate, random.random)

    def _seconds_to_start(self, now: float) -> float:
        table = self.table
        if self.claims.view.supervised:
            return self.starts.remaining(now)
        return table.health.interval * table.health.healthy_after  # until the probes of an address can have passed

    def admit(self, exchange: Claimant, excluding: Collection[BackendId] = ()) -> Upstream | None:
        """Claim a backend for an exchange, or hold it; one step, without a gap between choosing and counting.

        Returns:
            The claimed backend's connections, or None when the exchange is held (`Claimant.on_let_in` follows) or
            was turned away or answered because the pool is paused.
        """
        if self._closed:
            exchange.turn_away("the pool is gone")
            return None
        backend = None if self.held else self.claims.claim(excluding)
        if backend is None and excluding and not self.held:
            backend = self.claims.claim()
        if backend is not None:
            return self.upstreams[backend.id]
        outlook = self.claims.outlook()
        if outlook is Outlook.ANSWERED:
            self._answer(exchange)
            return None
        if outlook is Outlook.HOPELESS or len(self.held) >= self.table.hold_limit:
            exchange.turn_away("no backend can take the request" if outlook is Outlook.HOPELESS else "too many wait")
            return None
        exchange.held_at = now = self.plane.poller.now
        self.held.append(exchange)
        self.held_total += 1
        self.plane.poller.timers.set(exchange, now + self.table.hold_timeout)
        if outlook is Outlook.CLAIMABLE:
            self._let_in_soon()
        return None

    def acquit(self, upstream: Upstream | None) -> None:
        """Note that a backend has answered, if one is claimed still."""
        if upstream is not None:
            self.ejections.acquit(upstream.backend)

    def forget(self, exchange: Claimant) -> None:
        """An exchange without a backend has ended for another reason."""
        self.apart.discard(exchange)
        try:
            self.held.remove(exchange)
        except ValueError:
            return
        exchange.held_seconds += self.plane.poller.now - exchange.held_at

    def let_in(self) -> None:
        """Let held exchanges in, up to `STEP` of them, while backends are claimable."""
        now = self.plane.poller.now
        for _ in range(STEP):
            if not self.held:
                break
            backend = self.claims.claim()
            if backend is None:
                break
            exchange = self.held.popleft()
            exchange.held_seconds += now - exchange.held_at
            self.longest_hold = max(self.longest_hold, exchange.held_seconds)
            self.plane.poller.timers.set(exchange, math.inf)
            contain(exchange, exchange.on_let_in, self.upstreams[backend.id])
        if self.held:
            match self.claims.outlook():
                case Outlook.CLAIMABLE:
                    self.plane.poller.timers.set(self, now)
                case Outlook.HOPELESS:
                    self._turn_all_away()
                case Outlook.ANSWERED:
                    self._answer_held(now)
                case _:
                    pass

    def _answer(self, exchange: Claimant) -> None:
        answer = self.claims.view.answer
        assert answer is not None
        exchange.on_paused(answer)

    def _answer_held(self, now: float) -> None:
        """Answer the next `STEP` of those that are held, and the others at the next tick."""
        for _ in range(min(STEP, len(self.held))):
            exchange = self.held[0]
            self.forget(exchange)
            contain(exchange, self._answer, exchange)
        if self.held:
            self.plane.poller.timers.set(self, now)

    def _turn_all_away(self) -> None:
        while self.held:
            exchange = self.held[0]
            self.forget(exchange)
            contain(exchange, exchange.turn_away, "no backend can take the request")

    def cut_all(self) -> None:
        """End by force all there is, in flight or not: answered where no answer has begun, broken off where one has."""
        self._turn_all_away()
        for exchange in tuple(self.apart):
            contain(exchange, exchange.cut, "the proxy stops")
        for upstream in tuple(self.upstreams.values()):
            self.plane.cut(upstream.backend, self)

    def on_deadline(self) -> None:
        """The next held exchanges may go."""
        self.let_in()

    def on_crash(self, error: Exception) -> None:
        """Contain a defect of ours."""
        self.plane.on_crash(error, "gate")

    def _let_in_soon(self) -> None:
        self.plane.poller.soon(self, self.let_in)

    # Bodies that wait.

    def make_spool(self, owner: Contained, changed: Callable[[], None], *, keeps: bool = False) -> Spool:
        """Make a spool for a body of an exchange, which closes it; see `Spool`."""
        file = SpoolFile(self.plane.jobs, owner, self.plane.spool_directory, self._spool_calls)
        spool = file.spool = Spool(self.room, file, changed, keeps=keeps)
        return spool

    def _on_spool_full(self, why: str) -> None:
        self.plane.tally.spool_full[self.name] += 1
        now = self.plane.poller.now
        if now >= self._warn_full_at:
            self._warn_full_at = now + FULL_WARNING_SECONDS
            self.plane.log.warning(
                "spool.full",
                pool=self.name,
                detail=f"bodies are passed on as they come: {why}",
                spooled=self.room.filed,
                limit=self.room.limit,
            )

    # What control decides, and what it is told.

    def apply(self, view: PoolView) -> Applied:
        """Put a view of the pool in force, unless a later one is."""
        applied = self.claims.apply(view)
        now = self.plane.poller.now
        for backend in self.claims.candidates.values():
            if backend.id not in self.upstreams:
                self.upstreams[backend.id] = self._upstream_to(backend)
                if not backend.claimable:
                    self.starts.note_added(backend.id, now)
            if backend.claimable:
                self.starts.note_claimable(backend.id, now)
            elif backend.state is not BackendState.STARTING and backend.state is not BackendState.READY:
                self.starts.note_gone(backend.id)
            if backend.state is BackendState.STOPPED:
                self._wake(backend)  # its connections are about to break
        for backend_id in self.upstreams.keys() - self.claims.candidates.keys():
            self._forget_backend(self.upstreams.pop(backend_id))
        if self.held:
            self._let_in_soon()
        return applied

    def _forget_backend(self, upstream: Upstream) -> None:
        backend = upstream.backend
        self.starts.note_gone(backend.id)
        self.ejections.forget(backend)
        upstream.close()
        self.plane.end_tunnels(backend, "the backend was removed")
        self._wake(backend)  # nothing of it is left to wait for

    def _on_room(self) -> None:
        if self.held:
            self._let_in_soon()

    def _on_released(self, backend: Candidate) -> None:
        if backend.in_flight:
            return
        self._wake(backend)
        if backend.state is BackendState.DRAINING:
            self._tell(BackendIdle(backend.id, self.claims.view.version))

    def _wake(self, backend: Candidate) -> None:
        event = self._waiting.pop(backend.id, None)
        if event is not None:
            event.set()

    async def release(self, backend: Candidate, *, deadline: float, leave_within: float) -> Released:
        """Let go of a backend that is not claimable; see `DataPlane.release`."""
        withdrawal = Withdrawal(deadline=deadline, leave_within=leave_within)
        cut = 0
        exchanges: list[ExchangeView] = []
        while True:
            ended = self._waiting.setdefault(backend.id, trio.Event())
            upstream = None if backend.state is BackendState.STOPPED else self.upstreams.get(backend.id)
            acts = withdrawal.advance(
                now=trio.current_time(),
                in_flight=0 if upstream is None else backend.in_flight,
                connections=0 if upstream is None else len(upstream.connections),
            )
            for act in acts:
                match act:
                    case WithdrawalAct.PART_TUNNELS:
                        self.plane.close_tunnels(backend, within=deadline - trio.current_time())
                    case WithdrawalAct.CUT:
                        exchanges += self.plane.exchanges_in(backend)
                        cut += self.plane.cut(backend, self)
                    case WithdrawalAct.CLOSE_IDLE if upstream is not None:
                        upstream.close_idle()
                    case _:
                        pass
            if WithdrawalAct.ANSWER in acts:
                return Released(cut=cut, exchanges=tuple(exchanges))
            with trio.move_on_at(withdrawal.look_at):
                await ended.wait()

    def close(self) -> None:
        """Answer what is held, end what is in flight, close every connection."""
        self._closed = True
        self.cut_all()
        for upstream in tuple(self.upstreams.values()):
            upstream.close()
        self.upstreams.clear()
        for event in tuple(self._waiting.values()):
            event.set()
        self._waiting.clear()
