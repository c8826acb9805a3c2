"""The backends of a supervised pool that have a process: launched, watched until they end, and ended.

There are four ways to end one, from graceful to immediate:

| way | for a backend that | in flight |
|---|---|---|
| `end` | serves (in any other state it takes the gentlest way that is left) | has time to end, then is cut |
| `retire` | drains, and has nothing in flight or had its time | has a moment, then is cut |
| `discard` | did not become ready | there is nothing |
| `let_go` | is still starting and no longer wanted | there is nothing |
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence

import trio
from structlog.typing import FilteringBoundLogger

from hotswap.control.pools.announcements import identity_of
from hotswap.control.pools.contained_tasks import ContainedTasks
from hotswap.control.pools.entries import Entries
from hotswap.control.pools.release import Release
from hotswap.control.pools.supervised_backend import ExitReason, StartReason, SupervisedBackend
from hotswap.control.pools.surroundings import Surroundings
from hotswap.core.errors import StartFailed, StartFailure
from hotswap.core.http.exchange_view import SHOWN, ExchangeView, tell_exchanges
from hotswap.core.identity import RolloutId
from hotswap.core.pool.last_error import LastError, exit_words
from hotswap.core.pool.lifecycle import BackendState
from hotswap.core.pool.withdrawal import DISCONNECT
from hotswap.processes.exit_status import Exit
from hotswap.processes.spawn import spawn_backend

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
        """Begin with none; `on_exit` is called when the process of one has ended and it is no member any more."""
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
        quiet: bool = False,
    ) -> SupervisedBackend:
        """Start a backend, for a rollout or for none, and look after it.

        One that is `quiet` begins like those before it, which failed: what it writes is told when it is ready, or fails
        for another reason.

        Raises:
            BackendError: it could not be started.
        """
        around = self.surroundings
        plan = release.plan(pool=self.entries.core.name, slot=slot, generation=generation)
        log = self.log.bind(slot=slot, generation=generation)
        member: SupervisedBackend | None = None

        def relay(line: str) -> None:
            if member is not None and member.quiet:
                return  # its last lines are kept
            (log if member is None else member.log).info("backend.output", line=line)

        process = spawn_backend(plan, directory=around.sockets, relay=relay, log=log, guardian=around.guardian)
        backend = self.entries.add(
            slot=slot,
            generation=generation,
            address=process.address,
            h2c=release.table.h2c,
            pid=process.pid,
            directory=release.directory,
            sendfile=release.table.sendfile_roots,
        )
        member = SupervisedBackend(backend, process, release, around, log.bind(pid=process.pid))
        member.quiet = quiet
        if rollout is not None:
            member.enter(rollout)
        self._members.append(member)
        around.tally.backend_starts[plan.pool, reason.value] += 1
        level = logging.DEBUG if quiet else logging.INFO
        member.log.log(level, "backend.starting", reason=reason.value, directory=release.directory)
        self.tasks.start(self._attend, member)
        return member

    async def bring_up(self, member: SupervisedBackend) -> None:
        """Block until a backend that was launched is ready; admit it right after this.

        Raises:
            StartFailed: it did not become ready; it is left as it is.

        **Cancellation**: it is left as it is, whether it has become ready in the same instant or not.
        """
        await member.wait_ready()
        # It became ready, and was given up before this task had its turn.
        await trio.lowlevel.checkpoint_if_cancelled()
        if member not in self._members:
            # It answered and died in the same instant, and its death was noted while it was still starting.
            raise StartFailed(
                StartFailure.EXITED,
                f"as soon as it was ready, {_ending(member)}",
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
            self.tasks.start(member.serve_probes, self.entries)

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
        """Make a draining backend claimable again; False when it has died meanwhile, or is about to be stopped."""
        return member.alive and member.ending is None and self.entries.readmit(member.backend)

    def let_go_starting(self, slot: int | None = None) -> None:
        """Kill what is still starting, in one slot or in all, because it is no longer wanted."""
        for member in self:
            if member.backend.state is BackendState.STARTING and slot in (None, member.backend.slot):
                self.let_go(member)

    async def wait_gone(self, slot: int) -> None:
        """Block until no process is left of what was told to go in a slot; call where nothing else is in it."""
        for member in self:
            if member.backend.slot == slot:
                await member.process.wait_exit()

    def part_with(self, member: SupervisedBackend) -> None:
        """End a backend in order, in a task of its own; nobody waits for it, and it fills no slot any more."""
        member.leave_for_good()
        self.end_soon(member)

    def end_soon(self, member: SupervisedBackend) -> None:
        """End a backend in order, in a task of its own; nobody waits for it."""
        self.tasks.start(self.end, member, member.release.table.drain_timeout)

    async def end(self, member: SupervisedBackend, drain_timeout: float) -> None:
        """End a backend in the gentlest way that its state allows.

        What is in flight has `drain_timeout` seconds, at most those of its release.

        **Cancellation**: it may live on, and nothing new is claimed for it.
        """
        match member.backend.state:
            case BackendState.READY | BackendState.DRAINING:
                timeout = min(drain_timeout, member.release.table.drain_timeout)
                if member.backend.state is BackendState.READY:
                    self.drain(member)
                await self.let_finish(
                    member, timeout=timeout, leave_within=timeout / 4, event="backend.drain_timed_out"
                )
                if member.alive:
                    await self.retire(member)
            case BackendState.STOPPING if member.ending is ExitReason.STOPPED:
                # Whoever was about to end it may have been cancelled in the middle of it.
                await self.retire(member)
            case _:
                self.let_go(member)
                await member.process.stop(stop_timeout=0.0)

    async def let_finish(
        self,
        member: SupervisedBackend,
        *,
        timeout: float,
        event: str,
        leave_within: float = 0.0,
        publish: bool = False,
    ) -> tuple[int, Sequence[ExchangeView]]:
        """Block until nothing is in flight in a backend and no connection to it is left; what is cut is logged.

        Args:
            member: the backend; nothing may be claimed for it.
            timeout: seconds for what is in flight; what is left then is cut.
            event: what a cut is called in log and events.
            leave_within: the last seconds of that time, in which its tunnels are told to leave.
            publish: tell of a cut as an event, too.

        Returns:
            How many exchanges were cut, and the oldest of them.
        """
        around, deadline = self.surroundings, trio.current_time() + timeout
        try:
            released = await around.plane.release(member.backend, deadline=deadline, leave_within=leave_within)
        except Exception as error:
            # A defect of ours must not leave a process that nobody uses and nobody ends.
            member.log.error("backend.disconnect_crashed", exc_info=error)
            return 0, ()
        if released.cut:
            told = tell_exchanges(released.exchanges)
            member.log.warning(event, cut=released.cut, exchanges=told)
            if publish:
                around.events.publish(event, **identity_of(member.backend), cut=released.cut, exchanges=told)
        return released.cut, released.exchanges[:SHOWN]

    async def retire(self, member: SupervisedBackend) -> bool:
        """Close every connection to a backend, ask it to stop, and kill it after its `stop_timeout`.

        Exchanges that are still in flight have `DISCONNECT` seconds, then they are cut.

        Returns:
            Whether it was killed.

        **Cancellation**: it may live on.
        """
        member.expect(ExitReason.STOPPED)  # its end from here on is no crash
        member.stop_probes()
        if member.backend.state is BackendState.READY:
            self.drain(member)
        if member.backend.state is BackendState.DRAINING:
            self.entries.move(member.backend, BackendState.STOPPING)
        await member.wait_probed()
        if self.surroundings.predecessor is not None:
            # It may still use it: what is in flight there has so long, then it cuts it.
            deadline = trio.current_time() + member.release.table.drain_timeout
            await self.surroundings.predecessor.release(member.backend, deadline=deadline)
        await self.let_finish(member, timeout=DISCONNECT, event="backend.connections_cut")
        stop_timeout = member.release.table.stop_timeout
        member.log.info("backend.stopping", stop_timeout=stop_timeout)
        member.process.terminate(stop_timeout=stop_timeout)
        with trio.move_on_after(stop_timeout):
            await member.process.wait_exit()
            return False
        member.expect(ExitReason.KILLED)
        member.log.warning("backend.killed", detail=f"it did not end within {stop_timeout:g} s")
        await member.process.stop(stop_timeout=0.0)
        return True

    async def discard(
        self, member: SupervisedBackend, failure: StartFailed | None = None, *, told: bool = True
    ) -> None:
        """End a backend that did not become ready, and reap it; its entry stays, as failed.

        Args:
            member: the backend.
            failure: why; None where it is told elsewhere.
            told: an error of the log; else the same has been told before.

        **Cancellation**: it is killed, and its end is noted whenever it comes.
        """
        member.expect(ExitReason.START_FAILED)
        if failure is not None:
            self.note_failure(member, failure.detail)
        if member.backend.state is BackendState.STARTING:
            self.entries.move(member.backend, BackendState.FAILED)
        if failure is not None:
            member.log.log(
                logging.ERROR if told else logging.DEBUG,
                "backend.failed",
                reason=failure.reason.value,
                detail=failure.detail,
                output=list(failure.output),
            )
        member.process.kill()
        await member.process.stop(stop_timeout=0.0)

    def note_failure(self, member: SupervisedBackend, detail: str) -> None:
        """Keep why a backend did not become ready, as long as its slot is not well."""
        ended = member.process.exit
        error = LastError(text=detail, exit=None if ended is None else str(ended))
        self.entries.note_error(member.backend.slot, error)

    def let_go(self, member: SupervisedBackend) -> None:
        """Kill a backend that is still starting, because it is no longer wanted; its end is noted when it comes."""
        member.expect(ExitReason.DISCARDED)
        member.process.kill()
        if member.backend.state is BackendState.STARTING:
            self.entries.move(member.backend, BackendState.STOPPING)
        if not member.alive:
            # Its end may have been noted while it was still wanted.
            self.entries.bury(member.backend)

    def leave_all(self) -> None:
        """Kill what is left, and let go of what another process looks after."""
        for member in self:
            if member.handed_over:
                member.process.release_handles()
            else:
                member.process.kill()


def _ending(member: SupervisedBackend) -> str:
    """How a process ended that nobody had told to, and why."""
    ended = member.process.exit or Exit()
    return exit_words(code=ended.code, number=ended.signal, output=member.process.output_lines())
