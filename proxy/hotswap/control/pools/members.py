"""The backends of a supervised pool that have a process: launched, watched until they end, and ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from structlog.typing import FilteringBoundLogger

from hotswap.control.pools.contained_tasks import ContainedTasks
from hotswap.control.pools.ending import discard, end_in_order, let_go, retire
from hotswap.control.pools.entries import Entries
from hotswap.control.pools.release import Release
from hotswap.control.pools.supervised_backend import ExitReason, StartReason, SupervisedBackend, launch_backend
from hotswap.control.pools.surroundings import Surroundings
from hotswap.core.errors import StartFailed, StartFailure
from hotswap.core.identity import RolloutId
from hotswap.core.pool.lifecycle import BackendState
from hotswap.processes.supervisor import Exit, Stopped

SERVING = (BackendState.READY, BackendState.DRAINING)
"""States of a backend that serves, or drains by order of an operator or a rollout."""


class Members:
    """The backends of one pool from spawn to reaped, in the order in which they came.

    Attributes:
        entries: what the data plane sees of them.
        tasks: where each is looked after.
        surroundings: the rest of the process.
        log: bound to the pool.
    """

    def __init__(
        self,
        entries: Entries,
        tasks: ContainedTasks,
        surroundings: Surroundings,
        log: FilteringBoundLogger,
        *,
        on_exit: Callable[[SupervisedBackend, Exit], None],
    ) -> None:
        """Begin with none.

        Args:
            entries: where they are entered.
            tasks: where each is looked after.
            surroundings: the rest of the process.
            log: bound to the pool.
            on_exit: called when the process of one has ended and it is no member any more.
        """
        self.entries = entries
        self.tasks = tasks
        self.surroundings = surroundings
        self.log = log
        self._on_exit = on_exit
        self._members: list[SupervisedBackend] = []

    def __iter__(self) -> Iterator[SupervisedBackend]:
        """Go through those of this moment; they may come and go meanwhile."""
        return iter(tuple(self._members))

    def __len__(self) -> int:
        return len(self._members)

    def find(self, slot: int, generation: int | None = None) -> SupervisedBackend | None:
        """Give the backend that serves or drains in a slot, the newest if there are two."""
        for member in reversed(self._members):
            backend = member.backend
            serves = backend.state in SERVING and not member.leaving
            if serves and backend.slot == slot and generation in (None, backend.generation):
                return member
        return None

    def serving(self) -> list[SupervisedBackend]:
        """Give the living backends that serve, or drain by order of an operator; not those on their way out."""
        return [member for member in self if member.alive and not member.leaving and member.backend.state in SERVING]

    # They come.

    def launch(
        self,
        slot: int,
        generation: int,
        release: Release,
        reason: StartReason,
        *,
        rollout: RolloutId | None = None,
    ) -> SupervisedBackend:
        """Start a backend, for a rollout or for none, and look after it.

        Raises:
            BackendError: it could not be started.
        """
        core = self.entries.core
        member = launch_backend(core, release, self.surroundings, self.log, slot=slot, generation=generation)
        if rollout is not None:
            member.enter(rollout)
        self._members.append(member)
        self.surroundings.tally.backend_starts[core.name, reason.value] += 1
        member.log.info("backend.starting", reason=reason.value, directory=release.directory)
        self.tasks.start(self._attend, member)
        return member

    async def bring_up(self, member: SupervisedBackend) -> None:
        """Block until a backend that was launched is ready; admit it right after this.

        Raises:
            StartFailed: it did not become ready; it is left as it is.
        """
        await member.wait_ready()
        if member not in self._members:
            # It answered and died in the same instant, and its death was noted while it was still starting.
            raise StartFailed(
                StartFailure.EXITED,
                f"{member.process.exit} as soon as it was ready",
                member.process.output_lines(),
            )

    def take_in(self, member: SupervisedBackend) -> None:
        """Look after a backend that is there already; `look_after_all` does so where no task can run yet."""
        self._members.append(member)
        self._look_after(member)

    def look_after_all(self) -> None:
        """Look after those that were taken in before the pool was at work."""
        for member in self:
            self._look_after(member)

    def _look_after(self, member: SupervisedBackend) -> None:
        self.tasks.start(self._attend, member)
        if member.backend.state in SERVING:
            self.tasks.start(member.serve_probes, self.entries.core)

    async def _attend(self, member: SupervisedBackend) -> None:
        ended = await member.serve()
        self._members.remove(member)
        if self.surroundings.predecessor is not None:
            self.surroundings.predecessor.note_gone(member.process.pid)
        member.stop_probes()
        try:
            self.surroundings.plane.close_idle(member.backend)
        except Exception as error:
            member.log.error("backend.disconnect_crashed", exc_info=error)
        self._on_exit(member, ended or Exit())

    # They go.

    def drain(self, member: SupervisedBackend) -> None:
        """Let nothing new be claimed for a backend; what is in flight goes on."""
        self.entries.move(member.backend, BackendState.DRAINING)

    def readmit(self, member: SupervisedBackend) -> bool:
        """Make a draining backend claimable again; False when it has died meanwhile."""
        return member.alive and self.entries.readmit(member.backend)

    async def retire(self, member: SupervisedBackend) -> Stopped:
        """Close every connection to a drained backend, ask it to stop, and kill it after its `stop_timeout`.

        **Cancellation**: it may live on.
        """
        return await retire(member, self.entries, self.surroundings.plane)

    async def discard(self, member: SupervisedBackend) -> None:
        """End a backend that did not become ready, reap it and forget it.

        **Cancellation**: it is killed and forgotten; its end is noted whenever it comes.
        """
        try:
            await discard(member, self.entries)
        finally:
            self.entries.bury(member.backend)

    def let_go_starting(self, slot: int | None = None) -> None:
        """Kill what is still starting, in one slot or in all, because it is no longer wanted."""
        for member in self:
            if member.backend.state is BackendState.STARTING and slot in (None, member.backend.slot):
                let_go(member, self.entries)

    def part_with(self, member: SupervisedBackend) -> None:
        """End a backend in order, in a task of its own; nobody waits for it, and it fills no slot any more."""
        member.leave_for_good()
        self.end_soon(member)

    def end_soon(self, member: SupervisedBackend) -> None:
        """End a backend in order, in a task of its own; nobody waits for it."""
        self.tasks.start(self.end, member, member.release.table.drain_timeout)

    async def end(self, member: SupervisedBackend, drain_timeout: float) -> None:
        """End a backend in the gentlest way that its state allows.

        Args:
            member: the backend.
            drain_timeout: seconds for what is in flight, at most those of its release.

        **Cancellation**: it may live on.
        """
        match member.backend.state:
            case BackendState.READY | BackendState.DRAINING:
                timeout = min(drain_timeout, member.release.table.drain_timeout)
                await end_in_order(member, self.entries, self.surroundings.plane, drain_timeout=timeout)
            case BackendState.STOPPING if member.ending is ExitReason.STOPPED:
                # Whoever was about to end it may have been cancelled in the middle of it.
                await self.retire(member)
            case _:
                let_go(member, self.entries)
                await member.process.stop(stop_timeout=0.0)

    def leave_all(self) -> None:
        """Kill what is left, and let go of what another process looks after."""
        for member in self:
            if member.handed_over:
                member.process.release_handles()
            else:
                member.process.kill()
