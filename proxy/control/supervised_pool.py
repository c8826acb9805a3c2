"""A pool whose processes are ours: filled at boot, refilled after a crash, ended in order.

Theory. A slot is filled by a task of its own (`_fill`), which starts a backend, waits for it, and tries again
after a growing wait when it did not become ready; it ends when the slot is filled. A crash of a backend that
was ready starts such a task again, always from the release of the slot, which is that of the backend that
became ready last: so a crash in the middle of a deploy brings no half-new code in. There is never more than
one such task for a slot, and none while the pool is locked, while it stops, or while a rollout fills the slot
itself.

Everything that decides here is plain code without an await, so a crash, a trigger and an operator can come in
the same instant in any order. What a backend does can end a task here, never more than that: each contains
what is raised in it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import trio
from structlog.typing import FilteringBoundLogger

from proxy.control.announcements import Announcer
from proxy.control.release import Release
from proxy.control.slot import Slot
from proxy.control.supervised_backend import ExitReason, StartReason, SupervisedBackend, launch_backend
from proxy.control.surroundings import Surroundings
from proxy.core.backend import Backend
from proxy.core.config import SupervisedPoolTable
from proxy.core.errors import BackendError, RefusalCode, Refused, StartFailed, UnknownSlot
from proxy.core.hope import CRASH_LOOP
from proxy.core.identity import RolloutId
from proxy.core.lifecycle import BackendState, Health
from proxy.core.pool import BackendDrained, BackendMoved, Pool, PoolEvent
from proxy.processes.supervisor import Exit, Stopped

if TYPE_CHECKING:
    from proxy.control.rollouts import RolloutRun

DISCONNECT_TIMEOUT = 5.0
"""Seconds until connections to a backend that is to be stopped are cut, when closing them does not end them."""

IN_ROTATION_OR_COMING = frozenset({BackendState.STARTING, BackendState.READY, BackendState.DRAINING})


class SupervisedPool:
    """A supervised pool at work.

    Attributes:
        name: its name.
        core: its backends as the data plane sees them.
        release: what its backends are started from; the one of the last rollout that was done.
        generation: the number of that rollout; 1 after boot.
        slots: what is known of each slot, by number.
        members: every backend with a process, old and new.
        run: the rollout that is being performed, or None.
        marked: id of the rollout that has been asked for and is being checked, or waits for its turn.
        stopping: its backends are being ended; nothing is started any more.
    """

    def __init__(
        self, name: str, release: Release, surroundings: Surroundings, *, processors: int
    ) -> None:
        """Make it; nothing is started before `serve`.

        Args:
            name: its name.
            release: what its backends are started from.
            surroundings: the rest of the process.
            processors: how many this process may use, for a size of "auto".
        """
        self.name = name
        self.release = release
        self.generation = 1
        self.slots: dict[int, Slot] = {}
        self.members: list[SupervisedBackend] = []
        self.run: RolloutRun | None = None
        self.marked: RolloutId | None = None
        self.stopping = False
        self.log: FilteringBoundLogger = surroundings.log.bind(pool=name)
        self.surroundings = surroundings
        self._processors = processors
        self._releases = {1: release}
        self._newest = 1
        self._nursery: trio.Nursery | None = None
        table = release.table
        self.core = Pool(
            name=name,
            balance=table.balance,
            size=table.slots(processors),
            supervised=True,
            max_in_flight=table.max_in_flight,
        )
        self.core.observe(Announcer(surroundings.events, self.log))

    @property
    def table(self) -> SupervisedPoolTable:
        """Its definition: that of its release."""
        return self.release.table

    @property
    def rollout_id(self) -> RolloutId | None:
        """The rollout that is being performed, or has been asked for and not refused yet."""
        return self.marked if self.run is None else self.run.rollout.id

    @property
    def full(self) -> bool:
        """Every slot has a backend that can be claimed."""
        return len(self.core.ready_slots()) >= self.core.size

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Fill the slots and keep them filled, until cancelled.

        **Cancellation** kills what is left: end it in order with `stop` first.
        """
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                self.surroundings.plane.add_pool(self.core, self.table)
                self.refill(StartReason.BOOT)
                task_status.started()
                await trio.sleep_forever()
        finally:
            self.stopping = True
            for member in self.members:
                member.process.kill()
            self._nursery = None

    def spawn_task(self, work: Callable[..., Awaitable[None]], *arguments: object) -> None:
        """Run something in this pool's nursery; what it raises is logged and goes no further."""
        if self._nursery is not None:
            self._nursery.start_soon(self._contain, work, *arguments)

    async def _contain(self, work: Callable[..., Awaitable[None]], *arguments: object) -> None:
        try:
            await work(*arguments)
        except Exception as error:
            self.log.error("task.crashed", task=work.__qualname__, exc_info=error)

    # Slots are filled.

    def refill(self, reason: StartReason) -> None:
        """Start a backend for each slot that has none and is not being filled."""
        for number in range(self.core.size):
            if number not in self.slots:
                self.slots[number] = Slot(number=number, generation=self.generation, release=self.release)
            filled = any(
                member.backend.slot == number and member.backend.state in IN_ROTATION_OR_COMING
                for member in self.members
            )
            if not filled:
                self._start_filling(self.slots[number], reason)

    def _start_filling(self, slot: Slot, reason: StartReason, *, wait: float = 0.0) -> None:
        if slot.filling is not None or self.stopping or self._nursery is None:
            return
        slot.filling = trio.CancelScope()
        slot.sleeping = wait > 0
        self.spawn_task(self._fill, slot, reason, wait, slot.filling)

    async def _fill(self, slot: Slot, reason: StartReason, wait: float, scope: trio.CancelScope) -> None:
        try:
            with scope:
                await trio.sleep(wait)
                while not await self._try_to_fill(slot, reason):
                    reason = StartReason.CRASH
                    slot.sleeping = True
                    await trio.sleep(slot.backoff.wait(self.surroundings.jitter()))
        finally:
            if slot.filling is scope:
                slot.filling = None
                slot.sleeping = False

    async def _try_to_fill(self, slot: Slot, reason: StartReason) -> bool:
        """Start one backend for a slot; True when there is nothing left to be done for it."""
        if self.core.locked is not None or self.stopping:
            self._clear_placeholder(slot)
            return True
        slot.sleeping = False
        self._clear_placeholder(slot)
        member: SupervisedBackend | None = None
        try:
            member = self.launch(slot.number, slot.generation, slot.release, reason)
            await member.wait_ready()
        except StartFailed as failure:
            assert member is not None
            await self.discard(member, failure, into_backoff=slot)
        except BackendError as error:
            self.log.error("backend.not_started", slot=slot.number, detail=error.detail)
        except Exception as error:
            self.log.error("backend.start_crashed", slot=slot.number, exc_info=error)
            if member is not None:
                await self.discard(member, into_backoff=slot)
        except BaseException:
            # Cancelled: nobody wants it any more.
            if member is not None:
                self.let_go(member)
            raise
        else:
            self.admit(member)
            return True
        slot.backoff = slot.backoff.after_crash(ready_for=0.0)
        failed = next(seen.failed_starts for seen in self.core.snapshot().slots if seen.slot == slot.number)
        if failed == CRASH_LOOP:
            self.log.error(
                "slot.crash_looping",
                slot=slot.number,
                failed_starts=failed,
                detail="requests are no longer held for it; it is tried again with growing waits",
            )
        return False

    def launch(
        self, slot: int, generation: int, release: Release, reason: StartReason
    ) -> SupervisedBackend:
        """Start a backend and look after it.

        Raises:
            BackendError: it could not be started.
        """
        member = launch_backend(
            self.core, release, self.surroundings, self.log, slot=slot, generation=generation
        )
        self.members.append(member)
        self.surroundings.tally.backend_starts[self.name, reason.value] += 1
        member.log.info("backend.starting", reason=reason.value, directory=release.directory)
        self.spawn_task(self._attend, member)
        return member

    def admit(self, member: SupervisedBackend) -> None:
        """Make a backend that is ready claimable; its release is the slot's from now on."""
        backend = member.backend
        slot = self.slots[backend.slot]
        slot.generation, slot.release = backend.generation, member.release
        member.ready_at = trio.current_time()
        self._tell(lambda: self.core.set_health(backend, Health.HEALTHY))
        self._move(backend, BackendState.READY)
        member.log.info("backend.ready", seconds=round(member.ready_at - member.started, 3))
        self.spawn_task(member.serve_probes, self.core)

    def clear_slot(self, number: int) -> None:
        """End every attempt to fill a slot: a respawn that waits, a process that is still starting."""
        slot = self.slots[number]
        if slot.filling is not None:
            slot.filling.cancel()
            slot.filling = None
            slot.sleeping = False
        self._clear_placeholder(slot)
        for member in self.members:
            if member.backend.slot == number and member.backend.state is BackendState.STARTING:
                self.let_go(member)

    # Backends end.

    async def _attend(self, member: SupervisedBackend) -> None:
        ended = await member.serve()
        self.members.remove(member)
        self._note_exit(member, ended or Exit())

    def _note_exit(self, member: SupervisedBackend, ended: Exit) -> None:
        backend = member.backend
        member.stop_probes()
        self.surroundings.plane.close_idle(backend)
        crashed = member.ending is None and backend.state in (BackendState.READY, BackendState.DRAINING)
        reason = ExitReason.CRASHED if crashed else member.ending or ExitReason.START_FAILED
        self.surroundings.tally.backend_exits[self.name, reason.value] += 1
        self.surroundings.events.publish(
            "backend.exited",
            pool=self.name,
            slot=backend.slot,
            generation=backend.generation,
            backend=backend.id,
            pid=backend.pid,
            reason=reason.value,
            exit=str(ended),
        )
        if crashed:
            self._note_crash(member, ended)
            return
        member.log.info("backend.exited", reason=reason.value, exit=str(ended))
        if backend.state is BackendState.STOPPING:
            self._move(backend, BackendState.STOPPED)
            self._remove(backend)

    def _note_crash(self, member: SupervisedBackend, ended: Exit) -> None:
        backend = member.backend
        slot = self.slots.get(backend.slot)
        run = self.run
        respawn = run is None or run.rollout.respawned_by_supervisor(backend.slot, backend.generation)
        member.log.error(
            "backend.crashed",
            exit=str(ended),
            in_flight=backend.in_flight,
            output=list(member.process.output_lines()[-5:]),
        )
        self._move(backend, BackendState.STOPPED)
        if slot is None or self.stopping or not respawn:
            self._remove(backend)
        elif self.core.locked is not None:
            self._remove(backend)
            member.log.error(
                "backend.not_respawned",
                locked=self.core.locked,
                detail=f"the pool is locked; once repaired: hotswap unlock {self.name}",
            )
        else:
            ready_for = trio.current_time() - (member.ready_at or trio.current_time())
            slot.backoff = slot.backoff.after_crash(ready_for=ready_for)
            self._into_backoff(slot, backend)
            self._start_filling(
                slot, StartReason.CRASH, wait=slot.backoff.wait(self.surroundings.jitter())
            )
        if run is not None:
            run.note_exit(backend)

    def let_go(self, member: SupervisedBackend) -> None:
        """End at once a backend that nothing was ever sent to, because it is no longer wanted."""
        member.expect(ExitReason.DISCARDED)
        if member.backend.state is BackendState.STARTING:
            self._move(member.backend, BackendState.STOPPING)
        member.process.kill()
        if not member.alive and member not in self.members:
            self._bury(member.backend)

    async def discard(
        self, member: SupervisedBackend, failure: StartFailed | None = None, *, into_backoff: Slot | None = None
    ) -> None:
        """End a backend that did not become ready, and reap it.

        Args:
            member: the backend; it must be starting.
            failure: why, for the log.
            into_backoff: the slot that shows it until its next start; None: it is forgotten.

        **Cancellation**: it is killed and forgotten; its end is noted whenever it comes.
        """
        backend = member.backend
        member.expect(ExitReason.START_FAILED)
        if backend.state is BackendState.STARTING:
            self._move(backend, BackendState.FAILED)
        if failure is not None:
            member.log.error(
                "backend.failed",
                reason=failure.reason.value,
                detail=failure.detail,
                output=list(failure.output),
            )
        try:
            member.process.kill()
            await member.process.stop(stop_timeout=0.0)
            if into_backoff is not None and self.core.locked is None and not self.stopping:
                self._into_backoff(into_backoff, backend)
                return
        finally:
            if into_backoff is None or into_backoff.placeholder is not backend:
                self._bury(backend)

    def drain(self, member: SupervisedBackend) -> None:
        """Let nothing new be claimed for a backend; what is in flight goes on."""
        self._move(member.backend, BackendState.DRAINING)

    def readmit(self, member: SupervisedBackend) -> bool:
        """Make a draining backend claimable again; False when it has died meanwhile."""
        if not member.alive or member.backend.state is not BackendState.DRAINING:
            return False
        self._move(member.backend, BackendState.READY)
        return True

    def give_up(self, member: SupervisedBackend) -> None:
        """Note that a draining backend is about to be stopped, so that its end is no crash."""
        member.expect(ExitReason.STOPPED)
        member.stop_probes()
        if member.backend.state is BackendState.DRAINING:
            self._move(member.backend, BackendState.STOPPING)

    async def retire(self, member: SupervisedBackend) -> Stopped:
        """Close every connection to a drained backend, ask it to stop, and kill it after its `stop_timeout`.

        Exchanges that are still in flight have `DISCONNECT_TIMEOUT` seconds, then they are cut.

        **Cancellation**: it may live on.
        """
        self.give_up(member)
        await member.wait_probed()
        await self._disconnect(member)
        stop_timeout = member.release.table.stop_timeout
        member.log.info("backend.stopping", stop_timeout=stop_timeout)
        member.process.terminate()
        with trio.move_on_after(stop_timeout):
            return Stopped(exit=await member.process.wait_exit(), killed=False)
        member.expect(ExitReason.KILLED)
        member.log.warning("backend.killed", detail=f"it did not end within {stop_timeout:g} s")
        stopped = await member.process.stop(stop_timeout=0.0)
        return Stopped(exit=stopped.exit, killed=True)

    async def _disconnect(self, member: SupervisedBackend) -> None:
        plane, backend = self.surroundings.plane, member.backend
        pause = 0.001
        with trio.move_on_after(DISCONNECT_TIMEOUT):
            while True:
                plane.close_idle(backend)
                if plane.connections_to(backend) == 0 or not member.alive:
                    return
                await trio.sleep(pause)
                pause = min(2 * pause, 0.05)
        cut = plane.cut(backend)
        member.log.warning("backend.connections_cut", exchanges=cut)

    async def stop(self, *, drain_timeout: float) -> None:
        """End every backend in order; nothing is started any more.

        Args:
            drain_timeout: seconds for what is in flight, at most those of each backend's release.

        **Cancellation**: some may live on; cancelling `serve` kills them.
        """
        self.stopping = True
        for slot in self.slots.values():
            if slot.filling is not None:
                slot.filling.cancel()
            self._clear_placeholder(slot)
        async with trio.open_nursery() as nursery:
            for member in tuple(self.members):
                nursery.start_soon(self._contain, self._end, member, drain_timeout)

    async def _end(self, member: SupervisedBackend, drain_timeout: float) -> None:
        match member.backend.state:
            case BackendState.READY | BackendState.DRAINING:
                await self.end_in_order(member, drain_timeout=drain_timeout)
            case BackendState.STARTING:
                self.let_go(member)
                await member.process.stop(stop_timeout=0.0)
            case BackendState.STOPPING if member.ending is ExitReason.STOPPED:
                # Whoever was about to end it may have been cancelled in the middle of it.
                await self.retire(member)
            case _:
                member.process.kill()
                await member.process.stop(stop_timeout=0.0)

    async def end_in_order(self, member: SupervisedBackend, *, drain_timeout: float) -> None:
        """Drain a backend, cut what is left after a while, and retire it."""
        if member.backend.state is BackendState.READY:
            self.drain(member)
        if not await self._wait_drained(member, min(drain_timeout, member.release.table.drain_timeout)):
            cut = self.surroundings.plane.cut(member.backend)
            member.log.warning("backend.drain_timed_out", cut=cut)
        if member.alive:
            await self.retire(member)

    async def _wait_drained(self, member: SupervisedBackend, timeout: float) -> bool:
        backend = member.backend
        ended = trio.Event()

        def note(event: PoolEvent) -> None:
            if isinstance(event, BackendDrained | BackendMoved) and event.backend is backend:
                ended.set()

        stop_observing = self.core.observe(note)
        try:
            with trio.move_on_after(timeout):
                if backend.in_flight:
                    await ended.wait()
        finally:
            stop_observing()
        return backend.in_flight == 0 or not member.alive

    # Verbs.

    def member_in(self, slot: int, generation: int | None = None) -> SupervisedBackend | None:
        """Give the backend that serves or drains in a slot, the newest if there are two."""
        found = None
        for member in self.members:
            backend = member.backend
            if backend.slot != slot or generation not in (None, backend.generation):
                continue
            if backend.state in (BackendState.READY, BackendState.DRAINING):
                found = member
        return found

    def drain_slot(self, number: int) -> None:
        """Take the backend of a slot out of rotation and leave it running, until it is readmitted.

        A drained backend that dies is respawned as any other, and its successor is in rotation.

        Raises:
            UnknownSlot: there is no such slot.
            Refused: a rollout is in progress, or no other backend could be claimed then.
        """
        member = self._operable(number)
        if member.backend.state is BackendState.DRAINING:
            return
        others = [other for other in self.core.backends if other.claimable and other is not member.backend]
        if not others:
            raise Refused(
                RefusalCode.NOT_READY,
                f"no other backend of pool {self.name} can be claimed; to hold its requests: hotswap pause {self.name}",
                self._state(number),
            )
        member.log.info("backend.draining", by="operator")
        self.drain(member)

    def readmit_slot(self, number: int) -> None:
        """Bring the drained backend of a slot back into rotation; nothing happens when it is there.

        Raises:
            UnknownSlot: there is no such slot.
            Refused: a rollout is in progress, or the slot has no backend that is ready.
        """
        member = self._operable(number)
        if self.readmit(member):
            member.log.info("backend.readmitted", by="operator")

    def _operable(self, number: int) -> SupervisedBackend:
        if not 0 <= number < self.core.size:
            raise UnknownSlot(number, range(self.core.size))
        if self.stopping:
            raise Refused(RefusalCode.SHUTTING_DOWN, "the proxy is shutting down", self._state(number))
        if self.rollout_id is not None:
            raise Refused(
                RefusalCode.ROLLOUT_IN_PROGRESS,
                f"rollout {self.rollout_id} of pool {self.name} is in progress",
                self._state(number),
            )
        member = self.member_in(number)
        if member is None or not member.alive:
            raise Refused(
                RefusalCode.NOT_READY,
                f"slot {number} of pool {self.name} has no backend that is ready",
                self._state(number),
            )
        return member

    def _state(self, number: int) -> dict[str, object]:
        return {
            "pool": self.name,
            "slot": number,
            "slots": self.core.size,
            "ready": len(self.core.ready_slots()),
            "rollout": self.rollout_id,
            "states": [
                backend.state.value for backend in self.core.backends if backend.slot == number
            ],
        }

    def lock(self, reason: str) -> None:
        """Lock the pool: reloads are refused, and nothing that dies is respawned."""
        self.core.lock(reason)
        for slot in self.slots.values():
            if slot.filling is not None and slot.sleeping:
                slot.filling.cancel()
                self._clear_placeholder(slot)
        self.log.error(
            "pool.locked", reason=reason, detail=f"reloads are refused; once repaired: hotswap unlock {self.name}"
        )

    def unlock(self) -> bool:
        """End the lock and fill the slots again, each from its own release; False when there was no lock."""
        if self.core.locked is None:
            return False
        self.core.unlock()
        self.log.info("pool.unlocked")
        for slot in self.slots.values():
            slot.backoff = type(slot.backoff)()
        self.refill(StartReason.REFILL)
        return True

    # Rollouts.

    def next_generation(self, release: Release) -> int:
        """Give the number for a rollout of this release, and keep the release for it."""
        self._newest += 1
        self._releases[self._newest] = release
        return self._newest

    def release_of(self, generation: int) -> Release:
        """Give the release that a generation was started from."""
        return self._releases[generation]

    def pin(self, generation: int) -> None:
        """Make the release of a rollout that is done the pool's: its definition is in force from now on."""
        self.release = self._releases[generation]
        self.generation = generation
        table = self.table
        self.core.reconfigure(
            balance=table.balance,
            size=table.slots(self._processors),
            max_in_flight=table.max_in_flight,
        )
        self.surroundings.plane.add_pool(self.core, table)
        for number in [number for number in self.slots if number >= self.core.size]:
            self._drop_slot(number)
        self.refill(StartReason.REFILL)

    def forget_releases(self) -> None:
        """Forget the releases that nothing can be started from any more."""
        needed = {slot.generation for slot in self.slots.values()} | {self.generation}
        if self.run is None:
            self._releases = {
                number: release for number, release in self._releases.items() if number in needed
            }

    def _drop_slot(self, number: int) -> None:
        self.clear_slot(number)
        del self.slots[number]
        for member in tuple(self.members):
            if member.backend.slot == number:
                self.spawn_task(self._end, member, member.release.table.drain_timeout)

    # The pool's entries.

    def _move(self, backend: Backend, state: BackendState) -> None:
        self._tell(lambda: self.core.move(backend, state, now=trio.current_time()))

    def _remove(self, backend: Backend) -> None:
        if backend in self.core.backends:
            self._tell(lambda: self.core.remove(backend))

    def _tell(self, change: Callable[[], None]) -> None:
        """Change the pool; an observer that fails is broken, and the change was made."""
        try:
            change()
        except ExceptionGroup as faults:
            self.log.error("pool.observer_crashed", exc_info=faults)

    def _bury(self, backend: Backend) -> None:
        """Forget a backend that is dead or as good as dead."""
        if backend.state in (BackendState.FAILED, BackendState.STOPPING, BackendState.BACKOFF):
            self._move(backend, BackendState.STOPPED)
        self._remove(backend)

    def _into_backoff(self, slot: Slot, backend: Backend) -> None:
        self._clear_placeholder(slot)
        backend.pid = None
        self._move(backend, BackendState.BACKOFF)
        slot.placeholder = backend

    def _clear_placeholder(self, slot: Slot) -> None:
        backend, slot.placeholder = slot.placeholder, None
        if backend is not None:
            self._bury(backend)

