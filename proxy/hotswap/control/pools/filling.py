"""Slots are filled: at boot, after a crash, after an unlock.

Each slot is filled by a task of its own, which starts a backend, waits until it is ready, and tries again
after a growing wait when it did not become so. It ends when the slot is filled, or when there is a reason to
leave it empty: the pool is locked, or it stops. There is never more than one such task for a slot.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from hotswap.control.pools.ending import discard, let_go
from hotswap.control.pools.slot import Slot
from hotswap.control.pools.start_places import Place
from hotswap.control.pools.supervised_backend import StartReason, SupervisedBackend
from hotswap.core.backend import Backend
from hotswap.core.errors import BackendError, StartFailed
from hotswap.core.lifecycle import BackendState
from hotswap.core.pool import CRASH_LOOP
from hotswap.core.strategy import Strategy

if TYPE_CHECKING:
    from hotswap.control.pools.supervised_pool import SupervisedPool

FILLING = frozenset({BackendState.STARTING, BackendState.READY, BackendState.DRAINING})
"""States of a backend in which its slot needs no other."""


class Filler:
    """Fills the slots of one pool."""

    def __init__(self, pool: SupervisedPool) -> None:
        self._pool = pool

    def fill_all(self, reason: StartReason) -> None:
        """Start a backend for each slot that has none and is not being filled."""
        pool = self._pool
        for number in range(pool.core.size):
            if number not in pool.slots:
                pool.slots[number] = Slot(number=number, generation=pool.generation, release=pool.release)
            if not any(self._fills(member, number) for member in pool.members):
                self._start(pool.slots[number], reason, wait=0.0)

    def _fills(self, member: SupervisedBackend, number: int) -> bool:
        """Whether a slot needs no other because of this one.

        One that leaves for good fills nothing, except where the strategy never has two at a time.
        """
        if member.backend.slot != number:
            return False
        if member.leaving:
            return member.alive and self._pool.table.rollout.strategy is Strategy.STOP_FIRST
        return member.backend.state in FILLING

    def fill_after_crash(self, slot: Slot, crashed: Backend, *, ready_for: float) -> None:
        """Start another backend for a slot whose own crashed, after a wait that grows with each crash.

        Args:
            slot: the slot.
            crashed: what was in it; it is shown as waiting until then.
            ready_for: how long it had been ready, in seconds.
        """
        slot.backoff = slot.backoff.after_crash(ready_for=ready_for)
        self._show_waiting(slot, crashed)
        self._start(slot, StartReason.CRASH, wait=slot.backoff.wait(self._pool.surroundings.jitter()))

    def fill_beside(self, slot: Slot, reason: StartReason) -> None:
        """Start a backend for a slot whose own is on its way out, and may be there for a while."""
        if self._pool.core.locked is None:
            self._start(slot, reason, wait=0.0)

    def leave(self, slot: Slot, *, only_waiting: bool = False) -> None:
        """End the attempt to fill a slot; what is starting in it is killed.

        Args:
            slot: the slot.
            only_waiting: leave an attempt alone that has a process already.
        """
        if slot.filling is not None and not (only_waiting and not slot.sleeping):
            slot.filling.cancel()
            # It is on its way out, and must not keep a later attempt from beginning.
            slot.filling = None
            slot.sleeping = False
        if slot.filling is None:
            self._show_empty(slot)

    def _start(self, slot: Slot, reason: StartReason, *, wait: float) -> None:
        if slot.filling is not None or self._pool.stopping or self._pool.frozen:
            return
        slot.filling = trio.CancelScope()
        slot.sleeping = wait > 0
        self._pool.tasks.start(self._fill, slot, reason, wait, slot.filling)

    async def _fill(self, slot: Slot, reason: StartReason, wait: float, scope: trio.CancelScope) -> None:
        try:
            with scope:
                await trio.sleep(wait)
                while not await self._attempt(slot, reason):
                    reason = StartReason.CRASH
                    slot.sleeping = True
                    await trio.sleep(slot.backoff.wait(self._pool.surroundings.jitter()))
        finally:
            # From the admission to here nothing is awaited, so no crash can come in between and find the task alive.
            if slot.filling is scope:
                slot.filling = None
                slot.sleeping = False

    async def _attempt(self, slot: Slot, reason: StartReason) -> bool:
        """Start one backend; True when there is nothing left to be done for the slot."""
        pool = self._pool
        slot.sleeping = True
        place = await pool.surroundings.places.take(pool.name, (slot.backoff.crashes, slot.number))
        slot.sleeping = False
        try:
            return await self._attempt_in(place, slot, reason)
        finally:
            place.give_back()

    async def _attempt_in(self, place: Place, slot: Slot, reason: StartReason) -> bool:
        pool = self._pool
        self._show_empty(slot)
        if pool.core.locked is not None or pool.stopping:
            return True
        member: SupervisedBackend | None = None
        try:
            try:
                member = pool.launch(slot.number, slot.generation, slot.release, reason)
                pool.tasks.start(place.watch, member.process.pid)
                await pool.bring_up(member)
            except StartFailed as failure:
                pool.coming_up.note_failure(failure)
                if member is not None:
                    await discard(member, pool.entries, failure)
            except BackendError as error:
                pool.coming_up.note_failure(error)
                pool.log.error("backend.not_started", slot=slot.number, detail=error.detail)
                told = {"slot": slot.number, "detail": error.detail}
                pool.surroundings.events.publish("backend.not_started", pool=pool.name, **told)
            except Exception as error:
                pool.log.error("backend.start_crashed", slot=slot.number, exc_info=error)
                if member is not None:
                    await discard(member, pool.entries)
            else:
                pool.admit(member)
                return True
        except BaseException:
            # Cancelled: nobody wants it any more.
            if member is not None:
                let_go(member, pool.entries)
                if member.backend.state is BackendState.FAILED:
                    pool.entries.bury(member.backend)
            raise
        slot.backoff = slot.backoff.after_crash(ready_for=0.0)
        if member is not None:
            self._show_waiting(slot, member.backend)
        self._note_crash_loop(slot)
        return False

    def _note_crash_loop(self, slot: Slot) -> None:
        failed = next(seen.failed_starts for seen in self._pool.core.snapshot().slots if seen.slot == slot.number)
        if failed == CRASH_LOOP:
            self._pool.log.error(
                "slot.crash_looping",
                slot=slot.number,
                failed_starts=failed,
                detail="requests are no longer held for it; it is tried again with growing waits",
            )

    def _show_waiting(self, slot: Slot, backend: Backend) -> None:
        self._show_empty(slot)
        entries = self._pool.entries
        if self._pool.core.locked is not None or self._pool.stopping:
            entries.bury(backend)
            return
        backend.pid = None
        entries.move(backend, BackendState.BACKOFF)
        slot.placeholder = backend

    def _show_empty(self, slot: Slot) -> None:
        backend, slot.placeholder = slot.placeholder, None
        if backend is not None:
            self._pool.entries.bury(backend)
