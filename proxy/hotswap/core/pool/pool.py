"""A pool of backends, as control decides it: their states and health, the slots, the lock and the pause.

Control alone writes here. What it has decided goes to the data plane as a `PoolView`: whole, frozen, with a version
that grows with every change, and before anybody else is told of the change. Who takes the next exchange, and how many
each backend has in flight, is the data plane's (`hotswap.core.pool.claims`); it is not known here.

**Is it worth waiting?** Whether a slot expects a backend is judged in `hotswap.core.pool.slot_record`, by default
without anybody having to announce anything.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

from hotswap.core.address import Address
from hotswap.core.http.sendfile import SendfileRoots
from hotswap.core.identity import BackendId
from hotswap.core.observers import Observers
from hotswap.core.pool.backend import Backend
from hotswap.core.pool.events import (
    BackendAdded,
    BackendDrained,
    BackendEjected,
    BackendMoved,
    BackendRemoved,
    HealthChanged,
    NothingExpected,
    PoolEvent,
    PoolLocked,
    PoolPaused,
    PoolResumed,
    PoolUnlocked,
)
from hotswap.core.pool.last_error import LastError
from hotswap.core.pool.lifecycle import BackendState, Health, check_transition
from hotswap.core.pool.pause_answer import PauseAnswer
from hotswap.core.pool.release_directories import ReleaseDirectories
from hotswap.core.pool.slot_record import SlotRecord, static_expects
from hotswap.core.pool.view import Applied, BackendView, PoolView
from hotswap.core.strategy import Balance

# One sequence for all pools, so that an id is never used twice in this process.
_backend_ids = count(1)

CLAIMED = (BackendState.READY, BackendState.DRAINING)
"""States of a backend that serves, or did until it was told to drain."""

Publish = Callable[[PoolView], Applied | None]
"""Takes every view to the data plane. Gives its answer, or None where that comes later (`Pool.note_idle`)."""


class Pool:
    """Backends that share traffic.

    Attributes:
        name: its name in the configuration.
        size: number of slots.
        supervised: we run its processes; otherwise something else runs its addresses.
        backends: every backend that has not been removed, old and new, in the order they were added.
        locked: why the pool is locked, or None.
        paused: nothing is claimed at the moment, by order of an operator.
        answer: what requests get meanwhile; None: they are held.
        balance: how a backend is chosen for an exchange.
        max_in_flight: exchanges one backend may have at once; 0 is unlimited.
        version: of the newest view.
        directories: of the releases whose files are answered.
    """

    def __init__(self, *, name: str, balance: Balance, size: int, supervised: bool, max_in_flight: int = 0) -> None:
        """Begin with no backend; a supervised pool expects one in each of its slots from the start."""
        self.name = name
        self.size = size
        self.supervised = supervised
        self.max_in_flight = max_in_flight
        self.backends: list[Backend] = []
        self.locked: str | None = None
        self.paused = False
        self.answer: PauseAnswer | None = None
        self.balance = balance
        self.version = 0
        self.directories = ReleaseDirectories()
        self._publish: Publish | None = None
        self._draining: dict[BackendId, tuple[Backend, int]] = {}  # not yet drained, since this version
        self._slots: dict[int, SlotRecord] = {}
        self._observers: Observers[PoolEvent] = Observers(f"pool {name}")
        self._expecting = self.expecting

    # Backends come, change and go.

    def add(
        self,
        *,
        slot: int,
        generation: int,
        address: Address,
        state: BackendState = BackendState.STARTING,
        health: Health = Health.UNKNOWN,
        now: float,
        pid: int | None = None,
        h2c: bool = False,
        directory: str = "",
        sendfile: SendfileRoots = (),
    ) -> Backend:
        """Put a new backend into a slot, beside whatever fills it already.

        Whatever was announced for the slot is fulfilled by this, and another generation starts with a clean
        record.
        """
        backend = Backend(
            id=BackendId(next(_backend_ids)),
            pool=self.name,
            slot=slot,
            generation=generation,
            address=address,
            state=state,
            health=health,
            h2c=h2c,
            pid=pid,
            since=now,
            directory=directory,
            sendfile=sendfile,
        )
        self._record(slot).note_added(generation)
        self.backends.append(backend)
        self._changed(BackendAdded(backend))
        return backend

    def move(self, backend: Backend, state: BackendState, *, now: float) -> None:
        """Change what a backend is for. A drain is complete at once where nothing is in flight.

        Raises:
            IllegalTransition: the lifecycle has no such row; nothing was changed.
        """
        before = backend.state
        check_transition(before, state)
        backend.state = state
        backend.since = now
        self._record(backend.slot).note_moved(before, state)
        self._draining.pop(backend.id, None)
        if state is BackendState.DRAINING:
            self._draining[backend.id] = (backend, self.version + 1)
        if backend.health is Health.HEALTHY and before in CLAIMED and state in CLAIMED:
            # It serves again, or drains because somebody says so: what went wrong beside it is over.
            self._record(backend.slot).note_healthy()
        failed = state in (BackendState.FAILED, BackendState.BACKOFF)
        error = self.last_error(backend.slot) if failed else None
        applied = self._changed(BackendMoved(backend, before, state, error))
        if self._publish is None or (applied is not None and not applied.in_flight.get(backend.id)):
            self.note_idle(backend.id, self.version)

    def note_idle(self, backend: BackendId, version: int) -> None:
        """The data plane has nothing in flight any more in a backend that drains.

        Args:
            backend: the backend; nothing happens if it drains no more.
            version: of the view by which it drained when that was so: a drain that began later is not complete by it.
        """
        one, since = self._draining.get(backend, (None, 0))
        if one is not None and version >= since:
            del self._draining[backend]
            self._observers.tell(BackendDrained(one))

    def set_health(self, backend: Backend, health: Health, detail: str = "") -> None:
        """Set the verdict over a backend; the same verdict again changes nothing and tells nobody.

        Args:
            backend: the backend.
            health: the verdict.
            detail: what the probe found that led to it.
        """
        before = backend.health
        if health is before:
            return
        backend.health = health
        if health is Health.HEALTHY:
            self._record(backend.slot).note_healthy()
        elif health is Health.UNHEALTHY:
            self.note_error(backend.slot, LastError(text=f"unhealthy: {detail}" if detail else "unhealthy"))
        self._changed(HealthChanged(backend, before, health, detail))

    def note_ejected(self, backend: BackendId, seconds: float) -> None:
        """The data plane prefers others to a backend, for about so many seconds; with 0 no longer.

        Nothing happens if it has gone. Whoever ejects also ends it.
        """
        for one in self.backends:
            if one.id == backend and one.ejected != (seconds > 0):
                one.ejected = seconds > 0
                self._changed(BackendEjected(one, seconds))

    def remove(self, backend: Backend) -> None:
        """Forget a backend, in whatever state.

        Raises:
            ValueError: it is not in this pool.
        """
        self.backends.remove(backend)
        backend.claimable = False
        self._changed(BackendRemoved(backend))

    def renumber(self, backend: Backend, slot: int) -> None:
        """Move a backend of a static pool to another slot, because its address stands elsewhere in the list now."""
        backend.slot = slot
        self._changed()

    # What is known of slots beyond their backends.

    def announce(self, slot: int) -> None:
        """Announce a backend for a slot, whatever fills it now: requests may wait for it."""
        self._record(slot).announced = True
        self._changed()

    def expects(self, slot: int) -> bool:
        """Whether a backend that can be claimed is in this slot or is coming; see `hotswap.core.pool.slot_record`."""
        backends = [backend for backend in self.backends if backend.slot == slot]
        if not self.supervised:
            return static_expects(backends)
        return self._slots.get(slot, SlotRecord()).expects(backends, locked=self.locked is not None)

    def note_error(self, slot: int, error: LastError, *, unborn: bool = False) -> None:
        """Keep why a slot is not well, until a backend in it is healthy.

        Args:
            slot: its number.
            error: why.
            unborn: a start failed that had not even a process, so that no backend is there to be moved.
        """
        self._record(slot).note_error(error, unborn=unborn)
        if unborn:
            self._changed()

    def last_error(self, slot: int) -> LastError | None:
        """Give why a slot is not well; None when it is, or when nothing has gone wrong yet."""
        if any(backend.slot == slot and backend.claimable for backend in self.backends):
            return None
        return self._slots.get(slot, SlotRecord()).error

    def failed_starts(self, slot: int) -> int:
        """Count the failed starts in a row of a slot's generation."""
        return self._slots.get(slot, SlotRecord()).failed_starts

    def slot_numbers(self) -> list[int]:
        """Give the slots there are, those included that are only there until their backend has gone."""
        return sorted({*range(self.size), *(backend.slot for backend in self.backends)})

    @property
    def expecting(self) -> bool:
        """Whether a request that finds no backend has reason to wait for one."""
        if self.paused or any(backend.claimable for backend in self.backends):
            return True
        if self.supervised:
            return any(self.expects(slot) for slot in range(self.size))
        return static_expects(self.backends)

    def ready_slots(self) -> frozenset[int]:
        """Give the slots that have a claimable backend, full or not, paused or not."""
        return frozenset(backend.slot for backend in self.backends if backend.claimable)

    def lost_slots(self) -> frozenset[int]:
        """Give the slots that have no ready backend and expect none."""
        ready = {backend.slot for backend in self.backends if backend.state is BackendState.READY}
        return frozenset(slot for slot in range(self.size) if slot not in ready and not self.expects(slot))

    # Verbs about the pool as a whole. Each says nothing when there is nothing to change.

    def lock(self, reason: str) -> None:
        """Lock the pool: nothing is announced for it any more. Locking again keeps the first reason."""
        if self.locked is not None:
            return
        self.locked = reason
        for record in self._slots.values():
            record.note_locked()
        self._changed(PoolLocked(self.name, reason))

    def unlock(self) -> None:
        """End the lock; every slot starts with a clean record, so that empty ones expect a backend again."""
        if self.locked is None:
            return
        self.locked = None
        for record in self._slots.values():
            record.note_unlocked()
        self._changed(PoolUnlocked(self.name))

    def pause(self, answer: PauseAnswer | None = None) -> None:
        """Let nothing be claimed until `resume`; what is in flight goes on, and the rest is held or gets the answer."""
        if not self.paused or answer != self.answer:
            self.paused = True
            self.answer = answer
            self._changed(PoolPaused(self.name, answer))

    def resume(self) -> None:
        """Let exchanges be claimed again."""
        if self.paused:
            self.paused = False
            self.answer = None
            self._changed(PoolResumed(self.name))

    def reconfigure(
        self, *, balance: Balance, size: int, max_in_flight: int, sendfile: SendfileRoots | None = None
    ) -> None:
        """Take over a changed definition. Backends beyond the new size stay until somebody removes them.

        Args:
            balance, size, max_in_flight: as the attributes.
            sendfile: of every backend that there is; None: each keeps what it was added with.
        """
        if sendfile is not None:
            for backend in self.backends:
                backend.sendfile = sendfile
        self.balance = balance
        self.size = size
        self.max_in_flight = max_in_flight
        self._changed()

    def view(self) -> PoolView:
        """Give what the data plane is told: its newest version."""
        return PoolView(
            pool=self.name,
            version=self.version,
            supervised=self.supervised,
            balance=self.balance,
            max_in_flight=self.max_in_flight,
            paused=self.paused,
            answer=self.answer,
            expecting=self._expecting,
            backends=tuple(
                BackendView(
                    id=backend.id,
                    slot=backend.slot,
                    generation=backend.generation,
                    address=backend.address,
                    h2c=backend.h2c,
                    state=backend.state,
                    claimable=backend.claimable,
                    ejected=backend.ejected,
                    sendfile=backend.sendfile,
                )
                for backend in self.backends
            ),
            directories=self.directories.asked,
        )

    def publish_to(self, publish: Publish | None) -> None:
        """Give every view from the next one on to a data plane, or to none any more."""
        self._publish = publish

    def observe(self, callback: Callable[[PoolEvent], None]) -> Callable[[], None]:
        """Call back after each change, in the order of the changes, before the verb that made it returns.

        A callback may itself use the pool; what that brings about is told after the event at hand.

        Returns:
            A function that ends the observation; calling it again does nothing.
        """
        return self._observers.add(callback)

    def _record(self, slot: int) -> SlotRecord:
        return self._slots.setdefault(slot, SlotRecord())

    def _changed(self, *events: PoolEvent) -> Applied | None:
        # Bring everything that follows from states and healths up to date, publish, then tell.
        for backend in self.backends:
            backend.claimable = backend.state is BackendState.READY and backend.health is Health.HEALTHY
        self.directories.update(self.backends)
        expected, self._expecting = self._expecting, self.expecting
        self.version += 1
        applied = None if self._publish is None else self._publish(self.view())
        self._observers.tell(*events, *((NothingExpected(self.name),) if expected and not self._expecting else ()))
        return applied
