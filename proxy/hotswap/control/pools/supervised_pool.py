"""A pool of processes that the proxy starts, restarts after a crash, rolls, and stops.

Theory. A respawn is always started from the release of its slot, which is that of the backend that became
ready last: so a crash in the middle of a deploy brings no half-new code in. Nothing is respawned while the
pool is locked, while it stops, or while a rollout fills the slot itself.

Everything that decides here is plain code without an await, so a crash, a trigger and an operator can come in
the same instant in any order. What a backend does can end a task here, never more than that: each contains
what is raised in it. The processes are `members`, what fills their slots is `filling`, what they are started from
`pinned_releases`; what follows from their ends, from the lock, from operators and from rollouts is decided here.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import trio
from structlog.typing import FilteringBoundLogger

from hotswap.control.pools.announcements import Announcer, identity_of
from hotswap.control.pools.compatibility import read_compatibility
from hotswap.control.pools.contained_tasks import ContainedTasks
from hotswap.control.pools.entries import Entries
from hotswap.control.pools.filling import Filler
from hotswap.control.pools.first_start import FirstStart
from hotswap.control.pools.members import Members
from hotswap.control.pools.pinned_releases import PinnedReleases
from hotswap.control.pools.pool_handover import PoolHandover
from hotswap.control.pools.recycler import Recycler
from hotswap.control.pools.release import Release
from hotswap.control.pools.slot import Slot
from hotswap.control.pools.supervised_backend import ExitReason, StartReason, SupervisedBackend
from hotswap.control.pools.surroundings import Surroundings
from hotswap.control.pools.trouble import describe_trouble
from hotswap.control.pools.unlocked import Unlocked
from hotswap.core.backoff import Backoff
from hotswap.core.config import SupervisedPoolTable
from hotswap.core.errors import NotFound, RefusalCode, Refused
from hotswap.core.identity import RolloutId
from hotswap.core.pool.backend import Backend
from hotswap.core.pool.last_error import LastError, exit_words
from hotswap.core.pool.lifecycle import BackendState
from hotswap.core.pool.pool import Pool
from hotswap.core.pool.recycling import PoolStanding
from hotswap.core.pool.release_directories import ReleaseDirectories
from hotswap.core.pool.slot_record import CRASH_LOOP
from hotswap.core.rollout.compatibility import Unreadable
from hotswap.core.rollout.refusal import rollout_in_progress
from hotswap.core.rollout.rollout import Rollout
from hotswap.core.strategy import Strategy
from hotswap.processes.exit_status import Exit

FILLING = frozenset({BackendState.STARTING, BackendState.READY, BackendState.DRAINING})
"""States of a backend in which its slot needs no other."""

FIRST_WAIT = 1.0
LONGEST_WAIT = 60.0
"""Seconds between two attempts to read a compatibility number again; the wait doubles with each."""


class RolloutAtHand(Protocol):
    """The rollout that is being performed, as far as its pool has to know it."""

    @property
    def rollout(self) -> Rollout:
        """The machine that decides."""

    def note_exit(self, backend: Backend) -> None:
        """Take in that a backend died which nobody had told to go."""


class SupervisedPool:
    """A supervised pool: its slots, releases, lock and rollouts, and every decision about them.

    Attributes:
        name: its name.
        releases: what its backends can be started from, by generation, and which of them is in force.
        slots: what is known of each slot, by number.
        members: every backend with a process, old and new.
        run: the rollout that is being performed, or None.
        tasks: what goes on beside.
        core, entries: its backends, as the data plane sees them and as they are changed here.
        marked: id of the rollout that has been asked for and is being checked, or waits for its turn.
        first_start: whether every slot came up after the start, for whoever waits for it.
        filler: starts backends for slots that have none.
        handover: what follows when another proxy process owns its backends.
        recycler: replaces backends that have reached a limit.
    """

    def __init__(self, name: str, release: Release, surroundings: Surroundings, *, processors: int) -> None:
        """Make it, with so many processors for a size of "auto"; nothing is started before `serve`."""
        self.name = name
        self.releases = PinnedReleases(release)
        self.slots: dict[int, Slot] = {}
        self.run: RolloutAtHand | None = None
        self.marked: RolloutId | None = None
        self.log: FilteringBoundLogger = surroundings.log.bind(pool=name)
        self.surroundings = surroundings
        self._processors = processors
        self.tasks = ContainedTasks(self.log, "task.crashed")
        table = release.table
        self.core = Pool(
            name=name,
            balance=table.balance,
            size=table.slots(processors),
            supervised=True,
            max_in_flight=table.max_in_flight,
        )
        self.core.directories = ReleaseDirectories([release.directory])
        self._announcer = Announcer(surroundings.events, self.log)
        self.core.observe(self._announcer)
        self.first_start = FirstStart(self.core)
        self.entries = Entries(self.core, self.log)
        self.members = Members(self.entries, self.tasks, surroundings, self.log, on_exit=self._note_exit)
        self.filler = Filler(self.members, admit=self.admit, on_failure=self.first_start.note_failure)
        self.handover = PoolHandover(self.members, freeze=self.freeze, thaw=self.thaw)
        self.recycler = Recycler(
            self.members,
            self.slots,
            table=lambda: self.table,
            standing=self._standing,
            admit=self.admit,
            refill=self.refill,
        )

    @property
    def release(self) -> Release:
        """What its backends are started from: the release of the last rollout that was done."""
        return self.releases.current

    @property
    def generation(self) -> int:
        """The number of that rollout; 1 after boot."""
        return self.releases.generation

    @property
    def table(self) -> SupervisedPoolTable:
        """Its definition: that of its release."""
        return self.release.table

    @property
    def rollout_id(self) -> RolloutId | None:
        """The rollout that is being performed, or has been asked for and not refused yet."""
        return self.marked if self.run is None else self.run.rollout.id

    @property
    def settled(self) -> bool:
        """Every slot has a backend that can be claimed, or one failed to start and is tried again or given up."""
        ready = self.core.ready_slots()
        return self.core.locked is not None or all(
            number in ready or (number in self.slots and self.slots[number].backoff.crashes > 0)
            for number in range(self.core.size)
        )

    @property
    def stopping(self) -> bool:
        """Its backends are being ended; nothing is started any more."""
        return self.filler.stopping

    def restore(
        self,
        *,
        generation: int,
        newest: int,
        releases: Mapping[int, Release],
        slots: Iterable[Slot],
        errors: Mapping[int, LastError],
        directories: Sequence[str],
    ) -> None:
        """Go on where the proxy process before this one stood; before `serve`."""
        self.releases.restore(generation=generation, newest=newest, releases=releases)
        self.slots.update({slot.number: slot for slot in slots})
        self.core.directories = ReleaseDirectories(directories or [self.release.directory])
        for number, error in errors.items():
            self.entries.note_error(number, error)

    def start_anew(self, release: Release) -> None:
        """Have every slot started from another release, because nothing serves; before `serve`."""
        generation = self.releases.generation = self.releases.add(release)
        for slot in self.slots.values():
            slot.generation, slot.release, slot.backoff = generation, release, Backoff()
        self._conform()
        self.forget_releases()
        self.log.info("pool.starts_anew", generation=generation, directory=release.directory)

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Fill the slots and keep them filled, until cancelled.

        **Cancellation** kills what is left: end it in order with `stop` first.
        """
        try:
            async with trio.open_nursery() as nursery:
                self.tasks.nursery = nursery
                self.surroundings.plane.add_pool(self.core, self.table)
                self.members.look_after_all()
                self.refill(StartReason.BOOT)
                self._note_number()
                self.recycler.start()
                task_status.started()
                await trio.sleep_forever()
        finally:
            self.filler.stopping = True
            self.members.leave_all()
            self.tasks.nursery = None

    async def stop(self, *, drain_timeout: float) -> None:
        """End every backend in order; nothing is started any more.

        What is in flight has `drain_timeout` seconds, at most those of each backend's release.

        **Cancellation**: some may live on; cancelling `serve` kills them.
        """
        self.filler.stopping = self._announcer.ending = True
        self.recycler.break_off()
        self.first_start.note_stop()
        for slot in self.slots.values():
            self.filler.leave(slot)
        async with trio.open_nursery() as nursery:
            for member in self.members:
                nursery.start_soon(self.tasks.contain, self.members.end, member, drain_timeout)

    def go_on(self) -> None:
        """Serve on, because the pool is wanted after all; call it once whatever runs `stop` was cancelled.

        What was only drained is in rotation again; what was told to go goes, and its slot is filled.
        """
        self.filler.stopping = self._announcer.ending = False
        for member in self.members:
            slot = self.slots.get(member.backend.slot)
            if member.leaving:
                continue  # looked after since it began to leave
            if member.backend.state is BackendState.STOPPING or member.ending is not None:
                self.members.end_soon(member)
            elif slot is not None and not slot.drained and self.members.readmit(member):
                member.log.info("backend.readmitted")
        self.refill(StartReason.REFILL)

    def freeze(self) -> None:
        """Start nothing for now: another proxy process may own the backends."""
        self.filler.frozen = True
        self.recycler.break_off()
        for slot in self.slots.values():
            self.filler.leave(slot)

    def thaw(self) -> None:
        """Fill the slots that are empty: nobody else owns them any more."""
        self.filler.frozen = False
        self.refill(StartReason.REFILL)

    # Slots.

    def refill(self, reason: StartReason) -> None:
        """Start a backend for each slot that has none and is not being filled."""
        for number in range(self.core.size):
            if number not in self.slots:
                self.slots[number] = Slot(number=number, generation=self.generation, release=self.release)
            if not any(self._fills(member, number) for member in self.members):
                self.filler.fill(self.slots[number], reason)

    def _fills(self, member: SupervisedBackend, number: int) -> bool:
        """Whether a slot needs no other because of this one.

        One that leaves for good fills nothing, except where the strategy never has two at a time.
        """
        if member.backend.slot != number:
            return False
        if member.leaving:
            return member.alive and self.table.rollout.strategy is Strategy.STOP_FIRST
        return member.backend.state in FILLING

    def clear_slot(self, number: int) -> None:
        """End every attempt to fill a slot: a respawn that waits, a process that is still starting."""
        if number in self.slots:
            self.filler.leave(self.slots[number])
        self.members.let_go_starting(number)

    def admit(self, member: SupervisedBackend) -> None:
        """Make a backend that is ready claimable unless its slot is drained; its release is the slot's from now on."""
        backend = member.backend
        slot = self.slots[backend.slot]
        failed = self.core.failed_starts(slot.number)
        if backend.generation != slot.generation:
            # What the release before did wrong says nothing of this one.
            failed, slot.backoff = slot.backoff.crashes, Backoff()
        slot.generation, slot.release = backend.generation, member.release
        member.speak_up()
        member.ready_at = trio.current_time()
        self.entries.admit(backend, drained=slot.drained)
        if self.surroundings.predecessor is not None:
            self.surroundings.predecessor.note_added(backend)
        member.log.info("backend.ready", seconds=round(member.ready_at - member.started, 3))
        if failed >= CRASH_LOOP:
            told = {"slot": slot.number, "crashes": failed}
            self.log.info("slot.recovered", **told)
            self.surroundings.events.publish("slot.recovered", pool=self.name, **told)
        if slot.drained:
            member.log.info("backend.draining", by="operator")
        self.tasks.start(member.serve_probes, self.entries)

    # Exits.

    def _note_exit(self, member: SupervisedBackend, ended: Exit) -> None:
        """Count and tell the end of a process, and have its slot filled again where that is due."""
        if member.handed_over:
            self.handover.note_exit(member, ended)
            return
        backend = member.backend
        crashed = member.ending is None and backend.state in (BackendState.READY, BackendState.DRAINING)
        reason = ExitReason.CRASHED if crashed else member.ending or ExitReason.START_FAILED
        self.surroundings.tally.backend_exits[self.name, reason.value] += 1
        told = ended.in_words(asked=member.ending is not None)
        words, why = "", {}
        if crashed:
            words = exit_words(code=ended.code, number=ended.signal, output=member.process.output_lines())
            self.entries.note_error(backend.slot, LastError(text=words, exit=told))
            why = {"last_error": words}
        self.surroundings.events.publish(
            "backend.exited", **identity_of(backend), pid=backend.pid, reason=reason.value, exit=told, **why
        )
        if crashed:
            self._note_crash(member, ended, words)
            return
        level = logging.DEBUG if member.quiet else logging.INFO
        member.log.log(level, "backend.exited", reason=reason.value, exit=told)
        # One that was starting, or had failed to, belongs to whoever waits for it.
        if backend.state in (BackendState.DRAINING, BackendState.STOPPING) or member.leaving:
            self.entries.bury(backend)
        if member.leaving:
            # A slot of its number may have come back, and have waited for it.
            self.refill(StartReason.RECYCLE if member.recycled else StartReason.REFILL)

    def _note_crash(self, member: SupervisedBackend, ended: Exit, words: str) -> None:
        backend = member.backend
        slot, run = self.slots.get(backend.slot), self.run
        respawn = run is None or run.rollout.respawned_by_supervisor(backend.slot, backend.generation)
        respawn = respawn and slot is not None and not self.stopping and not self.recycler.replaces(backend)
        fresh = True
        if slot is not None and respawn and self.core.locked is None:
            now = trio.current_time()
            fresh = slot.note_failure(words, ready_for=now - (member.ready_at or now))
        in_flight = self.surroundings.plane.in_flight(backend)
        # Of a crash loop that is known, only what cost somebody something is news; it is counted elsewhere.
        known = slot is not None and slot.looping and not fresh and not in_flight
        member.log.log(
            logging.DEBUG if known else logging.ERROR,
            "backend.crashed",
            exit=str(ended),
            in_flight=in_flight,
            last_error=words,
            # The same lines again would say nothing new.
            output=list(member.process.output_lines()[-5:]) if fresh else [],
        )
        self.entries.move(backend, BackendState.STOPPED)
        if slot is None or not respawn:
            self.entries.remove(backend)
        elif self.core.locked is not None:
            self.entries.remove(backend)
            member.log.error(
                "backend.not_respawned",
                locked=self.core.locked,
                detail=f"the pool is locked; once repaired: hotswap unlock {self.name}",
            )
        else:
            self.filler.fill_after_crash(slot, backend)
        if run is not None:
            run.note_exit(backend)

    # The lock.

    def lock(self, reason: str) -> None:
        """Lock the pool: reloads are refused, and nothing that dies is respawned."""
        self.core.lock(reason)
        for slot in self.slots.values():
            self.filler.leave(slot, only_waiting=True)
        self.log.error(
            "pool.locked", reason=reason, detail=f"reloads are refused; once repaired: hotswap unlock {self.name}"
        )

    def unlock(self) -> Unlocked | None:
        """End the lock and fill the slots again, each from its own release; None when there was no lock."""
        if self.core.locked is None:
            return None
        self.core.unlock()
        for slot in self.slots.values():
            slot.backoff = Backoff()
        self.refill(StartReason.REFILL)
        unlocked = Unlocked(
            refilled=tuple(number for number, slot in sorted(self.slots.items()) if slot.filling is not None),
            serving=tuple(sorted(self.core.ready_slots())),
        )
        self.log.info("pool.unlocked", refilled=list(unlocked.refilled), serving=list(unlocked.serving))
        return unlocked

    # Operators.

    def drain_slot(self, number: int) -> None:
        """Take the backend of a slot out of rotation and leave it running, until the slot is readmitted.

        The order is about the slot: a backend that dies is respawned as any other, and its successor is drained.

        Raises:
            NotFound: there is no such slot.
            Refused: a rollout is in progress, or no other backend could be claimed then.
        """
        self.recycler.break_off()
        member = self._ready_in(number)
        changed = self.entries.drain(member.backend)
        self.slots[number].drained = True
        if changed:
            member.log.info("backend.draining", by="operator")

    def readmit_slot(self, number: int) -> None:
        """Bring a drained slot back into rotation; nothing happens when it is there.

        One whose backend has just died is in rotation as soon as the next one is ready.

        Raises:
            NotFound: there is no such slot.
            Refused: a rollout is in progress, or the slot is not drained and has no backend that is ready.
        """
        if self.is_drained(number) and self._serving_in(number) is None:
            self._check_operable(number)
            self.log.info("backend.readmitted", slot=number, by="operator")
        else:
            member = self._ready_in(number)
            if self.members.readmit(member):
                member.log.info("backend.readmitted", by="operator")
        self.slots[number].drained = False

    def is_drained(self, number: int) -> bool:
        """Whether an operator has taken a slot out of rotation."""
        return number in self.slots and self.slots[number].drained

    def _check_operable(self, number: int) -> dict[str, object]:
        if not 0 <= number < self.core.size:
            raise NotFound("slot", number, range(self.core.size))
        trouble = describe_trouble(self.core, number, self.slots.get(number))
        state = {**self.entries.describe_slot(number), **trouble, "rollout": self.rollout_id}
        if self.stopping:
            raise Refused(RefusalCode.SHUTTING_DOWN, "the proxy is shutting down", state)
        if self.rollout_id is not None:
            detail = rollout_in_progress(self.name, self.rollout_id)
            raise Refused(RefusalCode.ROLLOUT_IN_PROGRESS, detail, state)
        return state

    def _serving_in(self, number: int) -> SupervisedBackend | None:
        member = self.members.find(number)
        return member if member is not None and member.alive else None

    def _ready_in(self, number: int) -> SupervisedBackend:
        state = self._check_operable(number)
        member = self._serving_in(number)
        if member is None:
            error = self.core.last_error(number)
            detail = f"slot {number} of pool {self.name} has no backend that is ready"
            detail += "" if error is None else f": {error.text}"
            raise Refused(RefusalCode.NOT_READY, detail, state)
        return member

    # Recycling.

    def _standing(self, replaced: int) -> PoolStanding:
        """What else goes on than the replacement of the backend in a slot, so that recycling waits."""
        return PoolStanding(
            size=self.core.size,
            ready=len(self.core.ready_slots() | {replaced}),
            ending=self.stopping or self.filler.frozen or self.handover.active,
            rollout=self.rollout_id is not None,
            locked=self.core.locked is not None,
            paused=self.core.paused,
            drained=any(slot.drained for slot in self.slots.values()),
            leaving=any(member.leaving for member in self.members),
        )

    # Rollouts.

    def pin(self, generation: int) -> None:
        """Make the release of a rollout that is done the pool's: its definition is in force from now on."""
        self.releases.generation = generation
        self._conform()
        self._note_number()

    def resize(self, table: SupervisedPoolTable) -> None:
        """Take over a definition of which only the size differs: what is missing starts, what is too much drains.

        Nothing that stays is replaced, and what is started comes from the release in force.
        """
        self._amend_release(self.release, replace(self.release, table=table))
        self._conform()

    def _conform(self) -> None:
        """Make the definition in force that of the pool: its slots, and what the data plane is told."""
        self.recycler.break_off()
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
        self.recycler.start()

    def _drop_slot(self, number: int) -> None:
        self.clear_slot(number)
        del self.slots[number]
        for member in self.members:
            if member.backend.slot == number and not member.leaving:
                self.members.part_with(member)

    def forget_releases(self) -> None:
        """Forget the releases that nothing can be started from any more; none while a rollout is performed."""
        if self.run is None:
            self.releases.forget(but={slot.generation for slot in self.slots.values()})

    def _note_number(self) -> None:
        if isinstance(self.release.compatibility, Unreadable):
            self.tasks.start(self._read_number_again)

    async def _read_number_again(self) -> None:
        """Read the compatibility number of the release in force until it can be read, or until another is in force.

        Without it every reload would be refused for as long as the process lives, for a machine that was busy for a
        moment.

        **Cancellation**: the number stays unreadable.
        """
        release = self.release
        told, wait = "", FIRST_WAIT
        while isinstance(number := release.compatibility, Unreadable) and self.release is release:
            if number.detail != told:
                told = number.detail
                detail = "reloads are refused until it can be read; it is tried again"
                self.log.warning("compatibility.unreadable", reason=told, detail=detail)
            await trio.sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT)
            again = await read_compatibility(
                release.table.compatibility,
                directory=release.directory,
                environment=release.environment,
                guardian=self.surroundings.guardian,
            )
            if self.release is release:
                before, release = release, replace(release, compatibility=again)
                self._amend_release(before, release)
        if self.release is release:
            self.log.info("compatibility.read", number=str(release.compatibility))

    def _amend_release(self, before: Release, after: Release) -> None:
        self.releases.amend(before, after)
        holders: list[Slot | SupervisedBackend] = [*self.slots.values(), *self.members]
        for holder in holders:
            if holder.release is before:
                holder.release = after
