"""Starts backends for slots that have none: at boot, after a crash, after an unlock.

Each slot is filled by a task of its own, which starts a backend, waits until it is ready, and tries again
after a growing wait when it did not become so. It ends when the slot is filled, or when there is a reason to
leave it empty: the pool is locked, or it stops. There is never more than one such task for a slot.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from hotswap.control.pools.members import Members
from hotswap.control.pools.slot import Slot
from hotswap.control.pools.start_places import Place
from hotswap.control.pools.supervised_backend import StartReason, SupervisedBackend
from hotswap.core.errors import BackendError, StartFailed
from hotswap.core.pool.backend import Backend
from hotswap.core.pool.lifecycle import BackendState
from hotswap.core.pool.slot_record import CRASH_LOOP


class Filler:
    """Starts backends for the slots of one pool until each has one that is ready.

    Attributes:
        frozen: another proxy process may own the backends, so nothing is started for now.
        stopping: the pool is being ended, so nothing is started any more.
    """

    def __init__(
        self,
        members: Members,
        *,
        admit: Callable[[SupervisedBackend], None],
        on_failure: Callable[[BackendError], None],
    ) -> None:
        """Begin with nothing to fill.

        Args:
            members: those of the pool.
            admit: called with each backend that is ready.
            on_failure: told of each that could not be started.
        """
        self.frozen = False
        self.stopping = False
        self._members = members
        self._entries = members.entries
        self._core = members.entries.core
        self._surroundings = members.surroundings
        self._log = members.log
        self._admit = admit
        self._on_failure = on_failure

    def fill(self, slot: Slot, reason: StartReason) -> None:
        """Start a backend for a slot that is not being filled."""
        self._start(slot, reason, wait=0.0)

    def fill_after_crash(self, slot: Slot, crashed: Backend, *, ready_for: float) -> None:
        """Start another backend for a slot whose own crashed, after a wait that grows with each crash.

        The one that crashed, after it had been ready for so many seconds, is shown as waiting until then.
        """
        slot.backoff = slot.backoff.after_crash(ready_for=ready_for)
        self._show_waiting(slot, crashed)
        self._start(slot, StartReason.CRASH, wait=slot.backoff.wait(self._surroundings.jitter()))

    def leave(self, slot: Slot, *, only_waiting: bool = False) -> None:
        """End the attempt to fill a slot, and kill what is starting in it; or only one that has no process yet."""
        if slot.filling is not None and not (only_waiting and not slot.sleeping):
            slot.filling.cancel()
            # It is on its way out, and must not keep a later attempt from beginning.
            slot.filling = None
            slot.sleeping = False
        if slot.filling is None:
            self._show_empty(slot)

    def _start(self, slot: Slot, reason: StartReason, *, wait: float) -> None:
        if slot.filling is not None or self.stopping or self.frozen:
            return
        slot.filling = trio.CancelScope()
        slot.sleeping = wait > 0
        self._members.tasks.start(self._fill, slot, reason, wait, slot.filling)

    async def _fill(self, slot: Slot, reason: StartReason, wait: float, scope: trio.CancelScope) -> None:
        try:
            with scope:
                await trio.sleep(wait)
                while not await self._attempt(slot, reason):
                    reason = StartReason.CRASH
                    slot.sleeping = True
                    await trio.sleep(slot.backoff.wait(self._surroundings.jitter()))
        finally:
            # From the admission to here nothing is awaited, so no crash can come in between and find the task alive.
            if slot.filling is scope:
                slot.filling = None
                slot.sleeping = False

    async def _attempt(self, slot: Slot, reason: StartReason) -> bool:
        """Start one backend; True when there is nothing left to be done for the slot."""
        slot.sleeping = True
        place = await self._surroundings.places.take(self._core.name, (slot.backoff.crashes, slot.number))
        slot.sleeping = False
        try:
            return await self._attempt_in(place, slot, reason)
        finally:
            place.give_back()

    async def _attempt_in(self, place: Place, slot: Slot, reason: StartReason) -> bool:
        self._show_empty(slot)
        if self._core.locked is not None or self.stopping:
            return True
        member: SupervisedBackend | None = None
        try:
            try:
                member = self._members.launch(slot.number, slot.generation, slot.release, reason)
                self._members.tasks.start(place.watch, member.process.pid)
                await self._members.bring_up(member)
            except StartFailed as failure:
                self._on_failure(failure)
                if member is not None:
                    await self._members.discard(member, failure)
            except BackendError as error:
                self._on_failure(error)
                told = {"slot": slot.number, "detail": error.detail}
                self._log.error("backend.not_started", **told)
                self._surroundings.events.publish("backend.not_started", pool=self._core.name, **told)
            except Exception as error:
                self._log.error("backend.start_crashed", slot=slot.number, exc_info=error)
                if member is not None:
                    await self._members.discard(member)
            else:
                self._admit(member)
                return True
        except BaseException:
            # Cancelled: nobody wants it any more.
            if member is not None:
                self._members.let_go(member)
                if member.backend.state is BackendState.FAILED:
                    self._entries.bury(member.backend)
            raise
        slot.backoff = slot.backoff.after_crash(ready_for=0.0)
        if member is not None:
            self._show_waiting(slot, member.backend)
        self._note_crash_loop(slot)
        return False

    def _note_crash_loop(self, slot: Slot) -> None:
        failed = self._core.failed_starts(slot.number)
        if failed == CRASH_LOOP:
            self._log.error(
                "slot.crash_looping",
                slot=slot.number,
                failed_starts=failed,
                detail="requests are no longer held for it; it is tried again with growing waits",
            )

    def _show_waiting(self, slot: Slot, backend: Backend) -> None:
        self._show_empty(slot)
        if self._core.locked is not None or self.stopping:
            self._entries.bury(backend)
            return
        backend.pid = None
        self._entries.move(backend, BackendState.BACKOFF)
        slot.placeholder = backend

    def _show_empty(self, slot: Slot) -> None:
        backend, slot.placeholder = slot.placeholder, None
        if backend is not None:
            self._entries.bury(backend)
