"""One backend of a supervised pool: its process, the release it runs, and its entry in the pool, together."""

from __future__ import annotations

import logging
from enum import StrEnum

import trio
from structlog.typing import FilteringBoundLogger

from hotswap.control.pools.entries import Entries
from hotswap.control.pools.probing import probe_once, serve_probes
from hotswap.control.pools.release import Release
from hotswap.control.pools.surroundings import Surroundings
from hotswap.core.identity import RolloutId
from hotswap.core.pool.backend import Backend
from hotswap.core.pool.health import ProbeResult
from hotswap.processes.exit_status import Exit
from hotswap.processes.readiness import wait_ready
from hotswap.processes.supervisor import BackendProcess


class StartReason(StrEnum):
    """Why a backend was started; the label of `backend_starts_total`."""

    BOOT = "boot"
    CRASH = "crash"
    """Its predecessor crashed, or did not become ready."""
    ROLLOUT = "rollout"
    ROLLBACK = "rollback"
    REFILL = "refill"
    """The slot was left empty: by a rollout that failed, or because the pool has grown."""
    RECYCLE = "recycle"
    """Its predecessor had served, lived or grown as much as `recycle` allows."""


class ExitReason(StrEnum):
    """Why a backend's process ended; the label of `backend_exits_total`."""

    STOPPED = "stopped"
    """It was asked to stop and did."""
    KILLED = "killed"
    """It was asked to stop and had to be killed."""
    CRASHED = "crashed"
    """It ended by itself after it had been ready."""
    START_FAILED = "start-failed"
    """It ended, or was ended, because it did not become ready."""
    DISCARDED = "discarded"
    """It was ended while it started, because it was no longer wanted."""


class SupervisedBackend:
    """A backend from spawn to reaped.

    Attributes:
        backend: its entry in the pool.
        process: its process.
        release: what it was started from.
        started: when it was spawned, on trio's clock.
        ready_at: when it became ready, on trio's clock; None before.
        ending: why its end is expected; None while it is not.
        drain_deadline: when a rollout gives up waiting for its last exchange, on trio's clock; None while none does.
        leaving: it goes for good; whatever fills a slot of that number now is another.
        recycled: it goes because it had reached a limit of `recycle`, and its slot is filled when it is gone.
        quiet: what it writes is not logged, because it failed before after the same words; its last lines are kept.
        handed_over: a new proxy process looks after it; here it is only waited for.
        log: bound to pool, slot, generation and pid, and to the rollout as long as it has a part in one.
    """

    def __init__(
        self,
        backend: Backend,
        process: BackendProcess,
        release: Release,
        surroundings: Surroundings,
        log: FilteringBoundLogger,
    ) -> None:
        self.backend = backend
        self.process = process
        self.release = release
        self.started = trio.current_time()
        self.ready_at: float | None = None
        self.ending: ExitReason | None = None
        self.drain_deadline: float | None = None
        self.log = log
        self._surroundings = surroundings
        self.leaving = False
        self.recycled = False
        self.quiet = False
        self.handed_over = False
        self._refused = False
        self._turn = trio.CancelScope()
        self._probing = trio.CancelScope()
        self._probed = trio.Event()
        self._probed.set()

    @property
    def alive(self) -> bool:
        """Its process has not ended."""
        return self.process.exit is None

    def enter(self, rollout: RolloutId) -> None:
        """Have every line about it carry the id of a rollout, what it writes itself included, until `leave`."""
        self.log = self.log.bind(rollout=rollout)

    def leave(self) -> None:
        """Have no line carry it any more."""
        self.log = self.log.try_unbind("rollout")

    def expect(self, ending: ExitReason) -> None:
        """Note why its end is expected; the first reason stays, but for a stop that takes a kill."""
        if self.ending is None or ending is ExitReason.KILLED:
            self.ending = ending

    def speak_up(self) -> None:
        """Log what it has written so far, if that was left out, and what follows."""
        if self.quiet:
            self.quiet = False
            for line in self.process.output_lines():
                self.log.info("backend.output", line=line)

    def leave_for_good(self) -> None:
        """Note that its slot went, so that its end is expected, and that it fills no slot any more."""
        self.leaving = True
        self.expect(ExitReason.STOPPED)

    def hand_over(self) -> None:
        """Leave it to a new proxy process from now on: no output is read here any more, and no message."""
        self.handed_over = True
        self._turn.cancel()

    def take_back(self) -> None:
        """Look after it again."""
        self.leaving = False
        self.handed_over = False
        self._turn.cancel()

    async def serve(self) -> Exit | None:
        """Look after the process until it is gone.

        Returns:
            How it ended; None when nobody could find out.

        **Cancellation**: the process lives on.
        """
        while not self.process.ended:
            with trio.CancelScope() as self._turn:
                await (self.process.watch() if self.handed_over else self._serve())
            if not self._turn.cancelled_caught:
                break
        ended = self.process.exit
        predecessor = self._surroundings.predecessor
        if ended == Exit() and predecessor is not None:
            # Its parent is the process before this one, and alone was told.
            return await predecessor.exit_of(self.process.pid) or ended
        return ended

    async def _serve(self) -> None:
        try:
            await self.process.serve()
        except Exception as error:
            # A process that is not looked after must not stay: nobody would notice its end.
            self.log.error("backend.supervision_crashed", exc_info=error)
            self.process.kill()
            try:
                await self.process.serve()
            except Exception as again:
                self.log.error("backend.supervision_crashed", exc_info=again)

    async def wait_ready(self) -> None:
        """Block until it is ready by the rules of its release.

        Raises:
            StartFailed: it did not become ready; it is left as it is.
        """
        table = self.release.table
        await wait_ready(
            self.process,
            self._probe,
            start_timeout=table.start_timeout,
            interval=table.health.interval,
            healthy_after=table.health.healthy_after,
        )

    async def _probe(self) -> ProbeResult:
        """Probe it while it starts, and tell of the first answer that is not the expected one.

        Else nobody would know before `start_timeout` that nothing but the path or the statuses is wrong.
        """
        result = await probe_once(self.backend, self.release.table.health, self._surroundings, self.log)
        if result.status is not None and not result.ok and not self._refused:
            self._refused = True
            level = logging.DEBUG if self.quiet else logging.INFO
            self.log.log(level, "backend.not_yet_healthy", detail=result.detail)
        return result

    async def serve_probes(self, entries: Entries) -> None:
        """Check its health periodically until `stop_probes`."""
        if self._probing.cancel_called:
            return
        self._probed = trio.Event()
        health = self.release.table.health
        try:
            with self._probing:
                # Backends that became ready together are not probed in the same instant for ever.
                first_after = health.interval * (0.5 + 0.5 * self._surroundings.jitter())
                # It is probed for longer than its part in a rollout lasts.
                log = self.log.try_unbind("rollout")
                await serve_probes(entries, self.backend, health, self._surroundings, log, first_after=first_after)
        finally:
            self._probed.set()

    def stop_probes(self) -> None:
        """Check its health no more; a check that is under way is broken off."""
        self._probing.cancel()

    async def wait_probed(self) -> None:
        """Block until no check is under way, and so no connection of one is open; call after `stop_probes`."""
        await self._probed.wait()
