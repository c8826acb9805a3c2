"""Replaces backends that have reached a limit of `recycle`, one at a time, from the release that their slot holds.

It is no deploy: the generation stays. By the strategy of the pool the replacement starts before the old backend drains
(surge), while it drains (drain-first), or when it is gone (stop-first). Once the replacement serves, the old one goes
by itself as any other that leaves. Until then it can be called back: whatever else begins in the pool, the death of a
backend in another slot included, breaks the replacement off. One that does not become ready leaves the old backend
where it was, locks nothing, and is tried again after a wait that doubles. Under stop-first there is none to keep: the
slot is filled as after a crash.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import trio

from hotswap.control.pools.members import Members
from hotswap.control.pools.process_facts import ProcessFacts, read_process
from hotswap.control.pools.slot import Slot
from hotswap.control.pools.start_places import Place
from hotswap.control.pools.supervised_backend import ExitReason, StartReason, SupervisedBackend
from hotswap.core.config import SupervisedPoolTable
from hotswap.core.errors import BackendError, StartFailed
from hotswap.core.identity import BackendId
from hotswap.core.pool.backend import Backend
from hotswap.core.pool.events import PoolEvent
from hotswap.core.pool.lifecycle import BackendState
from hotswap.core.pool.recycling import (
    BackendLife,
    PoolStanding,
    RecycleLimits,
    RecycleReason,
    may_recycle,
    most_due,
    must_give_way,
    wait_after_failures,
)
from hotswap.core.strategy import Strategy

LOOK: Final = 1.0
"""Seconds between two looks at the backends."""

NEW: Final = 60.0
"""Seconds since a backend was ready within which its memory is that of a new one."""


# Not frozen: it is filled in while the replacement lasts.
@dataclass(slots=True, kw_only=True, eq=False)
class Replacing:
    """A replacement at hand.

    Attributes:
        slot: its slot.
        old: the backend that goes.
        new: its replacement, once it is spawned.
        scope: ends the attempt.
    """

    slot: Slot
    old: SupervisedBackend
    new: SupervisedBackend | None = None
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)


@dataclass(slots=True, kw_only=True)
class Watched:
    """What is remembered of a backend as long as it is there: its share of the spread, and its memory when new."""

    share: float
    first_memory: int = 0


class Recycler:
    """Watches the backends of one pool and replaces those that are due.

    Attributes:
        held: nothing is replaced for now, because another proxy process takes over.
    """

    def __init__(
        self,
        members: Members,
        slots: Mapping[int, Slot],
        *,
        table: Callable[[], SupervisedPoolTable],
        standing: Callable[[int], PoolStanding],
        admit: Callable[[SupervisedBackend], None],
        refill: Callable[[StartReason], None],
        read: Callable[[int], ProcessFacts | None] = read_process,
    ) -> None:
        """Begin with nothing at hand.

        Args:
            members: those of the pool.
            slots: its slots; only looked at.
            table: gives the definition in force.
            standing: tells what else goes on in the pool than the replacement in a slot.
            admit: called with a replacement that is ready.
            refill: fills the slots that have none.
            read: looks at a process; may block for a moment.
        """
        self.held = False
        self._members = members
        self._slots = slots
        self._table = table
        self._standing = standing
        self._admit = admit
        self._refill = refill
        self._read = read
        self._around = members.surroundings
        self._log = members.log
        self._watched: dict[BackendId, Watched] = {}
        self._warned: set[int] = set()
        self._at_hand: Replacing | None = None
        self._failures = 0
        self._not_before = 0.0
        self._serving = False
        members.entries.core.observe(self._give_way)

    @property
    def limits(self) -> RecycleLimits:
        """Those of the definition in force."""
        table = self._table().recycle
        return RecycleLimits(requests=table.requests, age=table.age, memory=table.memory)

    def replaces(self, backend: Backend) -> bool:
        """Whether a backend is being replaced, so that its slot is filled whatever becomes of it."""
        return self._at_hand is not None and self._at_hand.old.backend is backend

    def start(self) -> None:
        """Look after the backends from now on, where the definition has a limit; harmless when it is done already."""
        tasks = self._members.tasks
        if self.limits.any and not self._serving and tasks.nursery is not None:
            self._serving = True
            tasks.start(self._serve)

    def hold(self) -> None:
        """Replace nothing until `held` is False again; what is at hand is broken off."""
        self.held = True
        self.break_off()

    def break_off(self) -> None:
        """End the replacement at hand, because something else begins: the old backend is in rotation at once."""
        at_hand, self._at_hand = self._at_hand, None
        if at_hand is not None:
            at_hand.scope.cancel()
            self._undo(at_hand)

    def _give_way(self, _: PoolEvent) -> None:
        at_hand = self._at_hand
        # A dead one could not serve instead: its replacement is then what is nearest to that.
        if at_hand is not None and at_hand.old.alive and must_give_way(self._standing(at_hand.slot.number)):
            self.break_off()

    async def _serve(self) -> None:
        try:
            while (limits := self.limits).any:
                await trio.sleep(LOOK)
                await self._look(limits)
        finally:
            self._serving = False

    async def _look(self, limits: RecycleLimits) -> None:
        members = {member.backend.slot: member for member in self._members.serving()}
        lives = [life for member in members.values() if (life := await self._life(member, limits)) is not None]
        gone = self._watched.keys() - {member.backend.id for member in members.values()}
        for backend in gone:
            del self._watched[backend]
        due = most_due(limits, lives)
        if due is None or trio.current_time() < self._not_before or self.held:
            return
        life, reason = due
        if not may_recycle(self._standing(life.slot)):
            return
        old, slot = members[life.slot], self._slots.get(life.slot)
        if slot is None or not old.alive or old.leaving or old.backend.state is not BackendState.READY:
            return
        await self._replace(slot, old, life, reason)

    async def _life(self, member: SupervisedBackend, limits: RecycleLimits) -> BackendLife | None:
        facts = await trio.to_thread.run_sync(self._read, member.process.pid)
        if facts is None:
            return None
        backend = member.backend
        watched = self._watched.get(backend.id)
        if watched is None:
            new = member.ready_at is not None and trio.current_time() - member.ready_at < NEW
            first = facts.memory if new else 0
            watched = self._watched[backend.id] = Watched(share=self._around.jitter(), first_memory=first)
        life = BackendLife(
            slot=backend.slot,
            served=self._around.plane.served(backend),
            age=facts.uptime,
            memory=facts.memory,
            first_memory=watched.first_memory,
            share=watched.share,
        )
        if life.outgrown_at_birth(limits) and limits.memory not in self._warned:
            self._warned.add(limits.memory)
            self._log.warning(
                "recycle.memory_too_small",
                limit=limits.memory,
                memory=watched.first_memory,
                detail="a new backend takes as much, so none is replaced because of its memory",
            )
        return life

    async def _replace(self, slot: Slot, old: SupervisedBackend, life: BackendLife, reason: RecycleReason) -> None:
        told = {"reason": reason.value, "served": life.served, "age": round(life.age, 1), "memory": life.memory}
        old.log.info("backend.recycling", **told)
        self._publish("backend.recycling", slot, **told)
        began = trio.current_time()
        if self._table().rollout.strategy is Strategy.STOP_FIRST:
            old.recycled = True
            self._members.part_with(old)
            return
        at_hand = self._at_hand = Replacing(slot=slot, old=old)
        try:
            with at_hand.scope:
                await self._bring_up(at_hand)
        except BackendError as failure:
            output = failure.output if isinstance(failure, StartFailed) else ()
            self._note_failure(at_hand, failure.detail, output)
        except BaseException:
            # A defect of ours, or the end of the pool.
            self.break_off()
            raise
        if self._at_hand is not at_hand:
            return
        self._at_hand = None
        self._failures, self._not_before = 0, 0.0
        assert at_hand.new is not None
        if old.alive:
            self._members.part_with(old)
        seconds = round(trio.current_time() - began, 3)
        at_hand.new.log.info("backend.recycled", reason=reason.value, seconds=seconds)
        self._publish("backend.recycled", slot, reason=reason.value, seconds=seconds)

    async def _bring_up(self, at_hand: Replacing) -> None:
        """Start a replacement and admit it.

        Raises:
            BackendError: it did not become ready; it is left as it is.
        """
        slot, old, members = at_hand.slot, at_hand.old, self._members
        place: Place = await self._around.places.take(members.entries.core.name, (0, slot.number))
        try:
            await trio.lowlevel.checkpoint()
            if old.alive and not may_recycle(self._standing(slot.number)):
                self.break_off()  # something else began while others booted
                return
            if self._table().rollout.strategy is Strategy.DRAIN_FIRST and old.backend.state is BackendState.READY:
                members.drain(old)
            at_hand.new = members.launch(slot.number, slot.generation, slot.release, StartReason.RECYCLE)
            members.tasks.start(place.watch, at_hand.new.process.pid)
            await members.bring_up(at_hand.new)
            if self._at_hand is at_hand:  # else it was broken off in the same instant
                self._admit(at_hand.new)
        finally:
            place.give_back()

    def _note_failure(self, at_hand: Replacing, detail: str, output: tuple[str, ...]) -> None:
        self._failures += 1
        wait = wait_after_failures(self._failures)
        self._not_before = trio.current_time() + wait
        if at_hand.new is not None:
            at_hand.new.expect(ExitReason.START_FAILED)
        told = {"detail": detail, "output": list(output), "again_after": wait}
        self._log.error("backend.recycle_failed", slot=at_hand.slot.number, **told)
        self._publish("backend.recycle_failed", at_hand.slot, **told)
        self.break_off()

    def _undo(self, at_hand: Replacing) -> None:
        """Have everything as it was: the old backend in rotation, unless it died, and no replacement."""
        old, new = at_hand.old, at_hand.new
        if not at_hand.slot.drained and self._members.readmit(old):
            old.log.info("backend.readmitted")
        if new is not None and new.backend.state is BackendState.STARTING:
            self._members.let_go(new)
        if not old.alive:
            self._refill(StartReason.REFILL)

    def _publish(self, kind: str, slot: Slot, **fields: object) -> None:
        self._around.events.publish(kind, pool=self._members.entries.core.name, slot=slot.number, **fields)
