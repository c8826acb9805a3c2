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
from hotswap.control.telemetry.events import utc_now
from hotswap.core.errors import BackendError, StartFailed
from hotswap.core.pool.backend import Backend
from hotswap.core.pool.failure_row import is_counted
from hotswap.core.pool.last_error import LastError
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

    def fill_after_crash(self, slot: Slot, crashed: Backend) -> None:
        """Start another backend for a slot whose own crashed, after a wait that grows with each crash.

        The crash has been counted (`Slot.note_failure`); what crashed is shown as waiting until then.
        """
        self._show_waiting(slot, crashed)
        self._start(slot, StartReason.CRASH, wait=slot.backoff.wait(self._surroundings.jitter()))
        self._tell_count(slot)

    def leave(self, slot: Slot, *, only_waiting: bool = False) -> None:
        """End the attempt to fill a slot, and kill what is starting in it; or only one that has no process yet."""
        if slot.filling is not None and not (only_waiting and not slot.sleeping):
            slot.filling.cancel()
            # It is on its way out, and must not keep a later attempt from beginning.
            slot.filling = None
            slot.sleeping = False
            slot.next_try = None
        if slot.filling is None:
            self._show_empty(slot)

    def _start(self, slot: Slot, reason: StartReason, *, wait: float) -> None:
        if slot.filling is not None or self.stopping or self.frozen:
            return
        slot.filling = trio.CancelScope()
        slot.sleeping = wait > 0
        slot.next_try = trio.current_time() + wait if wait > 0 else None
        self._members.tasks.start(self._fill, slot, reason, wait, slot.filling)

    async def _fill(self, slot: Slot, reason: StartReason, wait: float, scope: trio.CancelScope) -> None:
        try:
            with scope:
                await trio.sleep(wait)
                while not await self._attempt(slot, reason):
                    reason = StartReason.CRASH
                    slot.sleeping = True
                    wait = slot.backoff.wait(self._surroundings.jitter())
                    slot.next_try = trio.current_time() + wait
                    self._tell_count(slot)
                    await trio.sleep(wait)
        finally:
            # From the admission to here nothing is awaited, so no crash can come in between and find the task alive.
            if slot.filling is scope:
                slot.filling = None
                slot.sleeping = False
                slot.next_try = None

    async def _attempt(self, slot: Slot, reason: StartReason) -> bool:
        """Start one backend; True when there is nothing left to be done for the slot."""
        slot.sleeping = True
        place = await self._surroundings.places.take(self._core.name, (slot.backoff.crashes, slot.number))
        slot.sleeping = False
        slot.next_try = None
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
                # Its lines are those of its predecessors, as long as nothing else is known.
                member = self._members.launch(slot.number, slot.generation, slot.release, reason, quiet=slot.looping)
                self._members.tasks.start(place.watch, member.process.pid)
                await self._members.bring_up(member)
            except StartFailed as failure:
                self._on_failure(failure)
                fresh = slot.note_failure(failure.detail)
                if member is not None:
                    await self._members.discard(member, failure, told=fresh)
            except BackendError as error:
                self._on_failure(error)
                told = {"slot": slot.number, "detail": error.detail}
                if slot.note_failure(error.detail):
                    self._log.error("backend.not_started", **told)
                self._entries.note_error(slot.number, LastError(text=error.detail), unborn=True)
                self._surroundings.events.publish("backend.not_started", pool=self._core.name, **told)
            except Exception as error:
                slot.note_failure(repr(error))
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
        if member is not None:
            self._show_waiting(slot, member.backend)
        return False

    def _tell_count(self, slot: Slot) -> None:
        """Say of a crash loop, ever less often, that it goes on, and why."""
        if not is_counted(slot.backoff.crashes) or self._core.locked is not None or slot.next_try is None:
            return
        error = self._core.last_error(slot.number)
        failed = self._core.failed_starts(slot.number)
        held = "" if failed < CRASH_LOOP else "requests are no longer held for it; "
        told = {
            "slot": slot.number,
            "crashes": slot.backoff.crashes,
            "failed_starts": failed,
            "last_error": None if error is None else error.text,
            "next_try": utc_now(slot.next_try - trio.current_time()),
        }
        detail = f"{held}it is tried again with growing waits; lines that say the same are left out"
        self._log.error("slot.crash_looping", **told, detail=detail)
        self._surroundings.events.publish("slot.crash_looping", pool=self._core.name, **told)

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
