"""A pool of backends: who is claimable, who is busy, and whether waiting makes sense.

This module owns the in-flight counts and the *rotation*, the list of the backends that could take an exchange
now. The theory is one rule: **claim and count in one step**. `claim` chooses and counts in one plain function
without an `await`, so a drain that sees nothing in flight cannot be overtaken by a request that was "chosen,
not yet counted". To keep that step short, whatever can be decided before a request comes is decided when
something changes: only claimable backends with room, of a pool that is not paused, are in the rotation at
all. `claim` never asks.

**Is it worth waiting?** A request that finds nothing claimable asks `outlook`; what a slot can be hoped for
is judged in `hotswap.core.hope`, by default without anybody having to announce anything.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from itertools import count

from hotswap.core.address import Address
from hotswap.core.backend import Backend
from hotswap.core.balancing import balancer
from hotswap.core.hope import CRASH_LOOP, SlotRecord, static_hopeful
from hotswap.core.identity import BackendId
from hotswap.core.lifecycle import BackendState, Health, check_transition
from hotswap.core.observers import Observers
from hotswap.core.pool_events import (
    BackendAdded,
    BackendDrained,
    BackendEjected,
    BackendMoved,
    BackendRemoved,
    CapacityFreed,
    HealthChanged,
    HopeLost,
    PoolEvent,
    PoolLocked,
    PoolPaused,
    PoolResumed,
    PoolUnlocked,
)
from hotswap.core.pool_snapshot import Outlook, PoolSnapshot, SlotSnapshot
from hotswap.core.strategy import Balance

__all__ = [
    "CRASH_LOOP",
    "Backend",
    "BackendAdded",
    "BackendDrained",
    "BackendEjected",
    "BackendMoved",
    "BackendRemoved",
    "CapacityFreed",
    "HealthChanged",
    "HopeLost",
    "Outlook",
    "Pool",
    "PoolEvent",
    "PoolLocked",
    "PoolPaused",
    "PoolResumed",
    "PoolSnapshot",
    "PoolUnlocked",
    "SlotSnapshot",
    "UnbalancedRelease",
]

# One sequence for all pools, so that an id is never used twice in this process.
_backend_ids = count(1)


class UnbalancedRelease(Exception):
    """An exchange was released that was not claimed: a fault of the caller. The count stays at 0."""


class Pool:
    """Backends that share traffic.

    Attributes:
        name: its name in the configuration.
        size: number of slots.
        supervised: we run its processes; otherwise something else runs its addresses.
        backends: every backend that has not been removed, old and new, in the order they were added.
        locked: why the pool is locked, or None.
        paused: nothing is claimed at the moment, by order of an operator.
        max_in_flight: exchanges one backend may have at once; 0 is unlimited.
    """

    __slots__ = (
        "_choose",
        "_hopeless",
        "_observers",
        "_rotation",
        "_slots",
        "backends",
        "locked",
        "max_in_flight",
        "name",
        "paused",
        "size",
        "supervised",
    )

    def __init__(self, *, name: str, balance: Balance, size: int, supervised: bool, max_in_flight: int = 0) -> None:
        """Begin with no backend; a supervised pool hopes for all its slots from the start."""
        self.name = name
        self.size = size
        self.supervised = supervised
        self.max_in_flight = max_in_flight
        self.backends: list[Backend] = []
        self.locked: str | None = None
        self.paused = False
        self._choose: Callable[[list[Backend]], Backend] = balancer(balance)
        self._rotation: list[Backend] = []
        self._slots: dict[int, SlotRecord] = {}
        self._observers: Observers[PoolEvent] = Observers(f"pool {name}")
        self._hopeless = self.outlook() is Outlook.HOPELESS

    # The path of every request.

    def claim(self, excluding: Collection[BackendId] = ()) -> Backend | None:
        """Choose a backend and count an exchange as in flight for it, in one step.

        Args:
            excluding: backends that this exchange has tried already.

        Returns:
            The backend, to be given to `release` exactly once, or None: then ask `outlook` whether to wait.
        """
        rotation = self._rotation
        if excluding:
            candidates = [backend for backend in rotation if backend.id not in excluding]
            if not candidates:
                return None
            chosen = self._choose(candidates)
        elif rotation:
            chosen = self._choose(rotation)
        else:
            return None
        chosen.in_flight = in_flight = chosen.in_flight + 1
        if in_flight == chosen.max_in_flight:
            rotation.remove(chosen)
        elif chosen is not rotation[-1]:
            rotation.remove(chosen)
            rotation.append(chosen)
        return chosen

    def release(self, backend: Backend) -> None:
        """Count a claimed exchange as ended, however it ended and whatever became of its backend since.

        Raises:
            UnbalancedRelease: nothing was in flight.
        """
        before = backend.in_flight
        backend.in_flight = before - 1
        # The first test is true for 0 of an unlimited backend too; whatever is rare is behind this line.
        if before == backend.max_in_flight or before < 1 or not backend.claimable:
            self._released(backend, before)

    def _released(self, backend: Backend, before: int) -> None:
        if before < 1:
            backend.in_flight = 0
            raise UnbalancedRelease(f"backend {backend.id} of pool {self.name} has nothing in flight")
        if before == backend.max_in_flight and backend.claimable and not self.paused and not self.left_out(backend):
            self._rotation.append(backend)
            self._observers.tell(CapacityFreed(self))
        elif before == 1 and backend.state is BackendState.DRAINING:
            self._observers.tell(BackendDrained(backend))

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
            max_in_flight=self.max_in_flight,
            pid=pid,
            since=now,
        )
        self._record(slot).note_added(generation)
        self.backends.append(backend)
        self._changed(BackendAdded(backend))
        return backend

    def move(self, backend: Backend, state: BackendState, *, now: float) -> None:
        """Change what a backend is for. A drain of a backend with nothing in flight is complete at once.

        Raises:
            IllegalTransition: the lifecycle has no such row; nothing was changed.
        """
        before = backend.state
        check_transition(before, state)
        backend.state = state
        backend.since = now
        self._record(backend.slot).note_moved(before, state)
        self._changed(BackendMoved(backend, before, state))
        if state is BackendState.DRAINING and backend.in_flight == 0:
            self._observers.tell(BackendDrained(backend))

    def set_health(self, backend: Backend, health: Health) -> None:
        """Set the verdict over a backend; the same verdict again changes nothing and tells nobody."""
        before = backend.health
        if health is before:
            return
        backend.health = health
        self._changed(HealthChanged(backend, before, health))

    def set_ejected(self, backend: Backend, seconds: float) -> None:
        """Prefer others to a backend, for about so many seconds; with 0 no longer. Whoever ejects also ends it."""
        if backend.ejected != (seconds > 0):
            backend.ejected = seconds > 0
            self._changed(BackendEjected(backend, seconds))

    def left_out(self, backend: Backend) -> bool:
        """Whether a backend gets nothing because it is ejected, and another is not."""
        return backend.ejected and any(other.claimable and not other.ejected for other in self.backends)

    def remove(self, backend: Backend) -> None:
        """Forget a backend, in whatever state; exchanges still in flight for it may be released afterwards.

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

    def expect(self, slot: int) -> None:
        """Announce a backend for a slot, whatever fills it now: requests may wait for it."""
        self._record(slot).expected = True
        self._changed()

    def give_up(self, slot: int) -> None:
        """Say that nobody will fill a slot (or bring back what is in it), until something is added to it."""
        self._record(slot).expected = False
        self._changed()

    def hopeful(self, slot: int) -> bool:
        """Tell whether a backend that can be claimed is in this slot or is coming; see `hotswap.core.hope`."""
        backends = [backend for backend in self.backends if backend.slot == slot]
        if not self.supervised:
            return static_hopeful(backends)
        return self._slots.get(slot, SlotRecord()).hopeful(backends, locked=self.locked is not None)

    def ready_slots(self) -> frozenset[int]:
        """Give the slots that have a claimable backend, full or not, paused or not."""
        return frozenset(backend.slot for backend in self.backends if backend.claimable)

    def lost_slots(self) -> frozenset[int]:
        """Give the slots that have no ready backend and no hope for one."""
        ready = {backend.slot for backend in self.backends if backend.state is BackendState.READY}
        return frozenset(slot for slot in range(self.size) if slot not in ready and not self.hopeful(slot))

    def outlook(self) -> Outlook:
        """Tell what a request can hope for now."""
        if self.paused:
            return Outlook.EXPECTED
        if self._rotation:
            return Outlook.CLAIMABLE
        if any(backend.claimable for backend in self.backends):
            return Outlook.BUSY
        if self.supervised:
            hopeful = any(self.hopeful(slot) for slot in range(self.size))
        else:
            hopeful = static_hopeful(self.backends)
        return Outlook.EXPECTED if hopeful else Outlook.HOPELESS

    # Verbs about the pool as a whole. Each says nothing when there is nothing to change.

    def lock(self, reason: str) -> None:
        """Lock the pool: nothing is announced for it any more. Locking again keeps the first reason."""
        if self.locked is not None:
            return
        self.locked = reason
        for record in self._slots.values():
            record.note_locked()
        self._changed(PoolLocked(self, reason))

    def unlock(self) -> None:
        """End the lock; every slot starts with a clean record, so that empty ones are hoped for again."""
        if self.locked is None:
            return
        self.locked = None
        self._slots.clear()
        self._changed(PoolUnlocked(self))

    def pause(self) -> None:
        """Let nothing be claimed until `resume`; what is in flight goes on."""
        if not self.paused:
            self.paused = True
            self._changed(PoolPaused(self))

    def resume(self) -> None:
        """Let exchanges be claimed again."""
        if self.paused:
            self.paused = False
            self._changed(PoolResumed(self))

    def reconfigure(self, *, balance: Balance, size: int, max_in_flight: int) -> None:
        """Take over a changed definition. Backends beyond the new size stay until somebody removes them."""
        self._choose = balancer(balance)
        self.size = size
        self.max_in_flight = max_in_flight
        for backend in self.backends:
            backend.max_in_flight = max_in_flight
        self._changed()

    def snapshot(self) -> PoolSnapshot:
        """Give the state of the pool now as a value."""
        numbers = sorted({*range(self.size), *(backend.slot for backend in self.backends)})
        return PoolSnapshot(
            name=self.name,
            size=self.size,
            supervised=self.supervised,
            locked=self.locked,
            paused=self.paused,
            outlook=self.outlook(),
            slots=tuple(
                SlotSnapshot(
                    slot=slot,
                    hopeful=self.hopeful(slot),
                    failed_starts=self._slots.get(slot, SlotRecord()).failed_starts,
                    backends=tuple(backend.snapshot() for backend in self.backends if backend.slot == slot),
                )
                for slot in numbers
            ),
        )

    def observe(self, callback: Callable[[PoolEvent], None]) -> Callable[[], None]:
        """Call back after each change, in the order of the changes, before the verb that made it returns.

        A callback may itself use the pool; what that brings about is told after the event at hand.

        Returns:
            A function that ends the observation; calling it again does nothing.
        """
        return self._observers.add(callback)

    def _record(self, slot: int) -> SlotRecord:
        return self._slots.setdefault(slot, SlotRecord())

    def _changed(self, *events: PoolEvent) -> None:
        # Bring everything that follows from states, healths and limits up to date, then tell.
        for backend in self.backends:
            backend.claimable = backend.state is BackendState.READY and backend.health is Health.HEALTHY
        usable = [
            backend
            for backend in self.backends
            if backend.claimable
            and not self.paused
            and not 0 < backend.max_in_flight <= backend.in_flight
            and not self.left_out(backend)
        ]
        # Who was in rotation keeps his turn; who enters it goes to the end, for a gentle start.
        staying, before = set(usable), set(self._rotation)
        entered = [backend for backend in usable if backend not in before]
        self._rotation = [backend for backend in self._rotation if backend in staying] + entered
        was_hopeless, self._hopeless = self._hopeless, self.outlook() is Outlook.HOPELESS
        self._observers.tell(
            *events,
            *((CapacityFreed(self),) if entered else ()),
            *((HopeLost(self),) if self._hopeless and not was_hopeless else ()),
        )
