"""One backend of a supervised pool: its process, the release it runs, and its entry in the pool, together."""

from __future__ import annotations

from enum import StrEnum

import trio
from structlog.typing import FilteringBoundLogger

from proxy.control.probing import probe_once, serve_probes
from proxy.control.release import Release
from proxy.control.surroundings import Surroundings
from proxy.core.backend import Backend
from proxy.core.health import ProbeResult
from proxy.core.pool import Pool
from proxy.processes.listening import open_backend_socket
from proxy.processes.spawn import spawn_backend
from proxy.processes.supervisor import BackendProcess, Exit


class StartReason(StrEnum):
    """Why a backend was started; the label of `backend_starts_total`."""

    BOOT = "boot"
    CRASH = "crash"
    """Its predecessor crashed, or did not become ready."""
    ROLLOUT = "rollout"
    ROLLBACK = "rollback"
    REFILL = "refill"
    """The slot was left empty: by a rollout that failed, or because the pool has grown."""


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
        log: bound to pool, slot, generation and pid.
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
        self._probing = trio.CancelScope()
        self._probed = trio.Event()
        self._probed.set()

    @property
    def alive(self) -> bool:
        """Its process has not ended."""
        return self.process.exit is None

    def expect(self, ending: ExitReason) -> None:
        """Note why its end is expected; the first reason stays, but for a stop that takes a kill."""
        if self.ending is None or ending is ExitReason.KILLED:
            self.ending = ending

    async def serve(self) -> Exit | None:
        """Look after the process until it is gone.

        Returns:
            How it ended; None when nobody could find out.

        **Cancellation**: the process lives on.
        """
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
        return self.process.exit

    async def wait_ready(self) -> None:
        """Block until it is ready by the rules of its release.

        Raises:
            StartFailed: it did not become ready; it is left as it is.
        """
        table = self.release.table
        await self.process.wait_ready(
            self._probe,
            start_timeout=table.start_timeout,
            interval=table.health.interval,
            healthy_after=table.health.healthy_after,
        )

    async def _probe(self) -> ProbeResult:
        return await probe_once(self.backend, self.release.table.health, self._surroundings, self.log)

    async def serve_probes(self, pool: Pool) -> None:
        """Check its health periodically until `stop_probes`."""
        if self._probing.cancel_called:
            return
        self._probed = trio.Event()
        health = self.release.table.health
        try:
            with self._probing:
                # Backends that became ready together are not probed in the same instant for ever.
                first_after = health.interval * (0.5 + 0.5 * self._surroundings.jitter())
                await serve_probes(
                    pool, self.backend, health, self._surroundings, self.log, first_after=first_after
                )
        finally:
            self._probed.set()

    def stop_probes(self) -> None:
        """Check its health no more; a check that is under way is broken off."""
        self._probing.cancel()

    async def wait_probed(self) -> None:
        """Block until no check is under way, and so no connection of one is open; call after `stop_probes`."""
        await self._probed.wait()


def launch_backend(
    pool: Pool, release: Release, surroundings: Surroundings, log: FilteringBoundLogger, *, slot: int, generation: int
) -> SupervisedBackend:
    """Spawn a backend and enter it into its pool as starting, in one step.

    Args:
        pool: where it is entered.
        release: what it is started from.
        surroundings: the rest of the process.
        log: bound to the pool.
        slot: what it fills.
        generation: number of the rollout that starts it.

    Returns:
        The backend; its `serve` has to be run.

    Raises:
        BackendError: the system has no process, file or socket left; nothing was entered.
    """
    plan = release.plan(pool=pool.name, slot=slot, generation=generation)
    bound = log.bind(slot=slot, generation=generation)
    listening = open_backend_socket(
        plan.listen, directory=surroundings.sockets, name=plan.name, transport=plan.transport
    )

    def relay(line: str) -> None:
        bound.info("backend.output", line=line)

    process = spawn_backend(
        plan,
        listening,
        directory=surroundings.sockets,
        relay=relay,
        log=bound,
        guardian=surroundings.guardian,
    )
    try:
        backend = pool.add(
            slot=slot,
            generation=generation,
            address=process.address,
            now=trio.current_time(),
            pid=process.pid,
        )
    except ExceptionGroup as faults:
        # An observer is broken; the entry was made before it was told, and the process exists.
        log.error("pool.observer_crashed", exc_info=faults)
        backend = pool.backends[-1]
    return SupervisedBackend(backend, process, release, surroundings, bound.bind(pid=process.pid))
