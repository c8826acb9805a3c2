"""A pool whose processes are ours: filled at boot, refilled after a crash, rolled, ended in order.

Theory. A respawn is always started from the release of its slot, which is that of the backend that became
ready last: so a crash in the middle of a deploy brings no half-new code in. Nothing is respawned while the
pool is locked, while it stops, or while a rollout fills the slot itself.

Everything that decides here is plain code without an await, so a crash, a trigger and an operator can come in
the same instant in any order. What a backend does can end a task here, never more than that: each contains
what is raised in it. How slots are filled is `filling`, how backends end is `ending`, what follows is `exits`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from structlog.typing import FilteringBoundLogger

from hotswap.control.pools import rotation
from hotswap.control.pools.announcements import Announcer
from hotswap.control.pools.coming_up import ComingUp
from hotswap.control.pools.contained_tasks import ContainedTasks
from hotswap.control.pools.ending import discard, end_in_order, give_up, let_go, retire
from hotswap.control.pools.entries import Entries
from hotswap.control.pools.exits import note_exit
from hotswap.control.pools.filling import Filler
from hotswap.control.pools.number_again import read_number_again
from hotswap.control.pools.operated_slots import OperatedSlots
from hotswap.control.pools.pinned_releases import PinnedReleases
from hotswap.control.pools.pool_handover import PoolHandover
from hotswap.control.pools.release import Release
from hotswap.control.pools.slot import Slot
from hotswap.control.pools.supervised_backend import ExitReason, StartReason, SupervisedBackend, launch_backend
from hotswap.control.pools.surroundings import Surroundings
from hotswap.core.backoff import Backoff
from hotswap.core.compatibility import Unreadable
from hotswap.core.config import SupervisedPoolTable
from hotswap.core.errors import StartFailed, StartFailure
from hotswap.core.identity import RolloutId
from hotswap.core.lifecycle import BackendState
from hotswap.core.pool import Pool
from hotswap.processes.supervisor import Exit, Stopped

if TYPE_CHECKING:
    from hotswap.control.pools.rollout_at_hand import RolloutAtHand


class SupervisedPool(OperatedSlots, PinnedReleases):
    """A supervised pool at work.

    Attributes:
        name: its name.
        release: what its backends are started from; the one of the last rollout that was done.
        generation: the number of that rollout; 1 after boot.
        slots: what is known of each slot, by number.
        members: every backend with a process, old and new.
        run: the rollout that is being performed, or None.
        tasks: what goes on beside.
        core, entries: its backends, as the data plane sees them and as they are changed here.
        marked: id of the rollout that has been asked for and is being checked, or waits for its turn.
        stopping: its backends are being ended; nothing is started any more.
        frozen: another proxy process may own its backends, so nothing is started for now.
        coming_up: whether it does, for whoever waits for it.
        handover: what follows when another proxy process does own them.
    """

    def __init__(self, name: str, release: Release, surroundings: Surroundings, *, processors: int) -> None:
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
        self.run: RolloutAtHand | None = None
        self.marked: RolloutId | None = None
        self.stopping = False
        self.frozen = False
        self.log: FilteringBoundLogger = surroundings.log.bind(pool=name)
        self.surroundings = surroundings
        self._processors = processors
        self._releases = {1: release}
        self._newest = 1
        self.tasks = ContainedTasks(self.log, "task.crashed")
        table = release.table
        self.core = Pool(
            name=name,
            balance=table.balance,
            size=table.slots(processors),
            supervised=True,
            max_in_flight=table.max_in_flight,
        )
        self._announcer = Announcer(surroundings.events, self.log)
        self.core.observe(self._announcer)
        self.coming_up = ComingUp(self)
        self.entries = Entries(self.core, self.log)
        self.filler = Filler(self)
        self.handover = PoolHandover(self)

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

    @property
    def settled(self) -> bool:
        """Every slot has a backend that can be claimed, or one failed to start and is tried again."""
        ready = self.core.ready_slots()
        return all(
            number in ready or (number in self.slots and self.slots[number].backoff.crashes > 0)
            for number in range(self.core.size)
        )

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Fill the slots and keep them filled, until cancelled.

        **Cancellation** kills what is left: end it in order with `stop` first.
        """
        try:
            async with trio.open_nursery() as nursery:
                self.tasks.nursery = nursery
                self.surroundings.plane.add_pool(self.core, self.table)
                for member in self.members:
                    self._look_after(member)
                self.refill(StartReason.BOOT)
                self._note_number()
                task_status.started()
                await trio.sleep_forever()
        finally:
            self.stopping = True
            for member in self.members:
                if member.handed_over:
                    member.process.release_handles()
                else:
                    member.process.kill()
            self.tasks.nursery = None

    def _note_number(self) -> None:
        if isinstance(self.release.compatibility, Unreadable):
            self.tasks.start(read_number_again, self)

    def amend_release(self, before: Release, after: Release) -> Release:
        """Know more of a release than when it was pinned; gives what it is now."""
        if self.release is before:
            self.release = after
        for slot in self.slots.values():
            if slot.release is before:
                slot.release = after
        for member in self.members:
            if member.release is before:
                member.release = after
        self._releases = {number: after if one is before else one for number, one in self._releases.items()}
        return after

    # Backends come.

    def refill(self, reason: StartReason) -> None:
        """Start a backend for each slot that has none and is not being filled."""
        self.filler.fill_all(reason)

    def clear_slot(self, number: int) -> None:
        """End every attempt to fill a slot: a respawn that waits, a process that is still starting."""
        if number in self.slots:
            self.filler.leave(self.slots[number])
        for member in self.members:
            if member.backend.slot == number and member.backend.state is BackendState.STARTING:
                let_go(member, self.entries)

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
        member = launch_backend(self.core, release, self.surroundings, self.log, slot=slot, generation=generation)
        if rollout is not None:
            member.enter(rollout)
        self.members.append(member)
        self.surroundings.tally.backend_starts[self.name, reason.value] += 1
        member.log.info("backend.starting", reason=reason.value, directory=release.directory)
        self.tasks.start(self._attend, member)
        return member

    async def bring_up(self, member: SupervisedBackend) -> None:
        """Block until a backend that was launched is ready; admit it right after this.

        Raises:
            StartFailed: it did not become ready; it is left as it is.
        """
        await member.wait_ready()
        if member not in self.members:
            # It answered and died in the same instant, and its death was noted while it was still starting.
            raise StartFailed(
                StartFailure.EXITED,
                f"{member.process.exit} as soon as it was ready",
                member.process.output_lines(),
            )

    def admit(self, member: SupervisedBackend) -> None:
        """Make a backend that is ready claimable unless its slot is drained; its release is the slot's from now on."""
        backend = member.backend
        slot = self.slots[backend.slot]
        slot.generation, slot.release = backend.generation, member.release
        member.ready_at = trio.current_time()
        self.entries.admit(backend, drained=slot.drained)
        if self.surroundings.predecessor is not None:
            self.surroundings.predecessor.note_added(backend)
        member.log.info("backend.ready", seconds=round(member.ready_at - member.started, 3))
        if slot.drained:
            member.log.info("backend.draining", by="operator")
        self.tasks.start(member.serve_probes, self.core)

    # Backends go.

    async def _attend(self, member: SupervisedBackend) -> None:
        ended = await member.serve()
        self.members.remove(member)
        if self.surroundings.predecessor is not None:
            self.surroundings.predecessor.note_gone(member.process.pid)
        note_exit(self, member, ended or Exit())

    def take_in(self, member: SupervisedBackend) -> None:
        """Look after a backend that is there already, from `serve` on."""
        self.members.append(member)
        if self.tasks.nursery is not None:
            self._look_after(member)

    def _look_after(self, member: SupervisedBackend) -> None:
        self.tasks.start(self._attend, member)
        if member.backend.state in (BackendState.READY, BackendState.DRAINING):
            self.tasks.start(member.serve_probes, self.core)

    def serving_members(self) -> list[SupervisedBackend]:
        """Give the living backends that serve, or drain by order of an operator; not those on their way out."""
        serving = (BackendState.READY, BackendState.DRAINING)
        return [
            member for member in self.members if member.alive and not member.leaving and member.backend.state in serving
        ]

    def part_with(self, member: SupervisedBackend) -> None:
        """End a backend in order, in a task of its own; nobody waits for it."""
        member.leave_for_good()
        self.tasks.start(self._end, member, member.release.table.drain_timeout)

    def thaw(self) -> None:
        """Fill the slots that are empty: nobody else owns them any more."""
        self.frozen = False
        self.refill(StartReason.REFILL)

    def drain(self, member: SupervisedBackend) -> None:
        """Let nothing new be claimed for a backend; what is in flight goes on."""
        self.entries.move(member.backend, BackendState.DRAINING)

    def readmit(self, member: SupervisedBackend) -> bool:
        """Make a draining backend claimable again; False when it has died meanwhile."""
        return member.alive and rotation.readmit(member.backend, self.entries)

    def give_up(self, member: SupervisedBackend) -> None:
        """Note that a draining backend is about to be retired, so that its end is no crash."""
        give_up(member, self.entries)

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

    async def stop(self, *, drain_timeout: float) -> None:
        """End every backend in order; nothing is started any more.

        Args:
            drain_timeout: seconds for what is in flight, at most those of each backend's release.

        **Cancellation**: some may live on; cancelling `serve` kills them.
        """
        self.stopping = self._announcer.ending = True
        self.coming_up.note_progress()
        for slot in self.slots.values():
            self.filler.leave(slot)
        async with trio.open_nursery() as nursery:
            for member in tuple(self.members):
                nursery.start_soon(self.tasks.contain, self._end, member, drain_timeout)

    def go_on(self) -> None:
        """Serve on, because the pool is wanted after all; call it once whatever runs `stop` was cancelled.

        What was only drained is in rotation again; what was told to go goes, and its slot is filled.
        """
        self.stopping = self._announcer.ending = False
        for member in tuple(self.members):
            slot = self.slots.get(member.backend.slot)
            if member.leaving:
                continue  # looked after since it began to leave
            if member.backend.state is BackendState.STOPPING:
                self.tasks.start(self._end, member, member.release.table.drain_timeout)
            elif slot is not None and not slot.drained and self.readmit(member):
                member.log.info("backend.readmitted")
        self.refill(StartReason.REFILL)

    async def _end(self, member: SupervisedBackend, drain_timeout: float) -> None:
        plane = self.surroundings.plane
        match member.backend.state:
            case BackendState.READY | BackendState.DRAINING:
                timeout = min(drain_timeout, member.release.table.drain_timeout)
                await end_in_order(member, self.entries, plane, drain_timeout=timeout)
            case BackendState.STOPPING if member.ending is ExitReason.STOPPED:
                # Whoever was about to end it may have been cancelled in the middle of it.
                await self.retire(member)
            case _:
                let_go(member, self.entries)
                await member.process.stop(stop_timeout=0.0)

    # The lock.

    def lock(self, reason: str) -> None:
        """Lock the pool: reloads are refused, and nothing that dies is respawned."""
        self.core.lock(reason)
        for slot in self.slots.values():
            self.filler.leave(slot, only_waiting=True)
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
            slot.backoff = Backoff()
        self.refill(StartReason.REFILL)
        return True

    # Rollouts.

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
        self._note_number()

    def _drop_slot(self, number: int) -> None:
        self.clear_slot(number)
        del self.slots[number]
        for member in tuple(self.members):
            if member.backend.slot == number and not member.leaving:
                self.part_with(member)
