"""A pool of addresses that something else runs, one a slot, with their health checks.

They are in rotation from the start and claimable once a probe has passed. Nothing here starts or stops a
backend; drain, readmit and pause work as for supervised pools, and reloads are refused with `not-supervised`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import trio
from structlog.typing import FilteringBoundLogger

from hotswap.control.pools.announcements import Announcer
from hotswap.control.pools.contained_tasks import ContainedTasks
from hotswap.control.pools.entries import Entries
from hotswap.control.pools.probing import serve_probes
from hotswap.control.pools.surroundings import Surroundings
from hotswap.core.address import Address
from hotswap.core.config import StaticPoolTable
from hotswap.core.errors import BackendError, NotFound
from hotswap.core.pool.backend import Backend
from hotswap.core.pool.lifecycle import BackendState, Health
from hotswap.core.pool.pool import Pool


# Not frozen: its deadline may be moved.
@dataclass(slots=True, kw_only=True, eq=False)
class Departure:
    """A backend that is drained and then forgotten, because its address is wanted no more.

    Attributes:
        deadline: when what is in flight is cut, on trio's clock.
        draining: ends the wait for its release.
        gone: set when the backend is forgotten.
        drained: an operator had taken it out of rotation before.
        called_off: it stays after all.
    """

    deadline: float
    drained: bool
    draining: trio.CancelScope = field(default_factory=trio.CancelScope)
    gone: trio.Event = field(default_factory=trio.Event)
    called_off: bool = False

    def end_by(self, deadline: float) -> None:
        """Give it less time, if it has more."""
        if deadline < self.deadline:
            self.deadline = deadline
            self.draining.cancel()


class StaticPool:
    """A static pool: its backends, their health checks, and the changes of its addresses.

    Attributes:
        name: its name.
        core, entries: its backends, as the data plane sees them and as they are changed here.
        table: its definition.
        generation: 1; nothing here is ever rolled.
        stopping: it is being ended.
        departures: backends that are drained because their address is wanted no more.
    """

    def __init__(self, name: str, table: StaticPoolTable, surroundings: Surroundings) -> None:
        """Make it; nothing is probed before `serve`."""
        self.name = name
        self.table = table
        self.generation = 1
        self.stopping = False
        self.log: FilteringBoundLogger = surroundings.log.bind(pool=name)
        self.surroundings = surroundings
        self._tasks = ContainedTasks(self.log, "task.crashed")
        self._probing: dict[Backend, trio.CancelScope] = {}
        self.departures: dict[Backend, Departure] = {}
        self._healths: dict[str, str] = {}
        self._drained: frozenset[str] = frozenset()
        self.core = Pool(
            name=name,
            balance=table.balance,
            size=len(table.addresses),
            supervised=False,
            max_in_flight=table.max_in_flight,
        )
        self._announcer = Announcer(surroundings.events, self.log)
        self.core.observe(self._announcer)
        self.entries = Entries(self.core, self.log)

    @property
    def judged(self) -> bool:
        """Each address has been found healthy or unhealthy; none has before the pool is served."""
        return bool(self.core.backends) and all(backend.health is not Health.UNKNOWN for backend in self.core.backends)

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Probe the addresses until cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                self._tasks.nursery = nursery
                self.surroundings.plane.add_pool(self.core, self.table)
                for slot, address in enumerate(self.table.addresses):
                    self._add(slot, address)
                self._healths, self._drained = {}, frozenset()
                task_status.started()
                await trio.sleep_forever()
        finally:
            self._tasks.nursery = None

    async def wait_proven(self) -> None:
        """Block until a pool that has just been started has an address that answers.

        Raises:
            BackendError: no probe has passed in the time in which one that fails is found unhealthy.
        """
        health = self.table.health
        timeout = (health.timeout + health.interval) * max(health.healthy_after, health.unhealthy_after)
        with trio.move_on_after(timeout):
            while not self.core.ready_slots() and not self.judged and not self.stopping:
                await trio.sleep(min(0.05, health.interval))
        if not self.core.ready_slots():
            raise BackendError("none of its addresses answers the health check")

    def restore(self, healths: Mapping[str, str], *, drained: Collection[str]) -> None:
        """Begin with the verdicts of the process before this one; before `serve`.

        Args:
            healths: verdicts by address.
            drained: addresses that an operator has taken out of rotation.
        """
        self._healths = dict(healths)
        self._drained = frozenset(drained)

    def reconfigure(self, table: StaticPoolTable) -> None:
        """Take over a changed definition: addresses that stay are kept, those that go end what is in flight.

        An address is the same wherever it stands in the list, as long as it is spoken to in the same protocol. One that
        was about to go stays with all it had, and one that goes already is not sent away again.
        """
        probed_alike = table.health == self.table.health
        self.table = table
        self.core.reconfigure(
            balance=table.balance,
            size=len(table.addresses),
            max_in_flight=table.max_in_flight,
            sendfile=table.sendfile_roots,
        )
        self.surroundings.plane.add_pool(self.core, table)
        if self._tasks.nursery is None:
            return  # `serve` begins with it
        present: defaultdict[tuple[Address, bool], list[Backend]] = defaultdict(list)
        # Those that leave are the last choice.
        for backend in sorted(self.core.backends, key=lambda backend: backend in self.departures):
            present[backend.address, backend.h2c].append(backend)
        missing: dict[int, Address] = {}
        for slot, address in enumerate(table.addresses):
            if alike := present[address, table.h2c]:
                self._keep(alike.pop(0), slot, probed_alike=probed_alike)
            else:
                missing[slot] = address
        going = [backend for left in present.values() for backend in left if backend not in self.departures]
        # An operator drained an address, in whatever protocol it is spoken to.
        self._drained = frozenset(str(backend.address) for backend in going if backend.state is BackendState.DRAINING)
        for backend in going:
            self._send_away(backend, table.hold_timeout)
        for slot, address in missing.items():
            self._add(slot, address)
        self._drained = frozenset()

    def go_on(self) -> None:
        """Serve on, because the pool is wanted after all; call it once whatever runs `stop` was cancelled."""
        self.stopping = self._announcer.ending = False
        self.reconfigure(self.table)

    def _keep(self, backend: Backend, slot: int, *, probed_alike: bool) -> None:
        departure = self.departures.pop(backend, None)
        if departure is not None:
            departure.called_off = True
            departure.draining.cancel()
            if not departure.drained:
                self.entries.move(backend, BackendState.READY)
        if backend.slot != slot:
            self.core.renumber(backend, slot)
        if not probed_alike:
            self._probing[backend].cancel()
            self._start_probing(backend)

    async def stop(self, *, drain_timeout: float) -> None:
        """Take every backend out of rotation; what is in flight has `drain_timeout` seconds, then it is cut."""
        self.stopping = self._announcer.ending = True
        if self._tasks.nursery is None:
            return
        for backend in tuple(self.core.backends):
            if backend not in self.departures:
                self._send_away(backend, drain_timeout)
        departures = tuple(self.departures.values())
        for departure in departures:
            departure.end_by(trio.current_time() + drain_timeout)
        for departure in departures:
            await departure.gone.wait()

    def drain_slot(self, number: int) -> None:
        """Take a backend out of rotation until it is readmitted.

        Raises:
            NotFound: there is no such slot.
            Refused: no other backend could be claimed then.
        """
        if self.entries.drain(self._backend_in(number)):
            self.log.info("backend.draining", slot=number, by="operator")

    def readmit_slot(self, number: int) -> None:
        """Bring a drained backend back into rotation; nothing happens when it is there.

        Raises:
            NotFound: there is no such slot.
        """
        if self.entries.readmit(self._backend_in(number)):
            self.log.info("backend.readmitted", slot=number, by="operator")

    def is_drained(self, number: int) -> bool:
        """Whether an operator has taken a slot out of rotation."""
        newest = self._newest_in(number)
        return newest is not None and newest.state is BackendState.DRAINING

    def _newest_in(self, number: int) -> Backend | None:
        staying = (backend for backend in reversed(self.core.backends) if backend not in self.departures)
        return next((backend for backend in staying if backend.slot == number), None)

    def _backend_in(self, number: int) -> Backend:
        backend = self._newest_in(number)
        if backend is None or number >= self.core.size:
            raise NotFound("slot", number, range(self.core.size))
        return backend

    def _add(self, slot: int, address: Address) -> None:
        backend = self.entries.add(
            slot=slot,
            generation=self.generation,
            address=address,
            h2c=self.table.h2c,
            sendfile=self.table.sendfile_roots,
            state=BackendState.READY,
            health=Health(self._healths.get(str(address), Health.UNKNOWN)),
        )
        if str(address) in self._drained:
            self.entries.move(backend, BackendState.DRAINING)
        self._start_probing(backend)

    def _start_probing(self, backend: Backend) -> None:
        self._probing[backend] = trio.CancelScope()
        self._tasks.start(self._probe, backend, self._probing[backend])

    async def _probe(self, backend: Backend, scope: trio.CancelScope) -> None:
        log = self.log.bind(slot=backend.slot, address=str(backend.address))
        with scope:
            await serve_probes(self.entries, backend, self.table.health, self.surroundings, log, first_after=0.0)

    def _send_away(self, backend: Backend, drain_timeout: float) -> None:
        """Take a backend out of rotation, let what is in flight end, and forget it, unless it is called back."""
        departure = Departure(
            deadline=trio.current_time() + drain_timeout,
            drained=backend.state is BackendState.DRAINING,
        )
        self.departures[backend] = departure
        if not departure.drained:
            self.entries.move(backend, BackendState.DRAINING)
        self._tasks.start(self._leave, backend, departure)

    async def _leave(self, backend: Backend, departure: Departure) -> None:
        plane = self.surroundings.plane
        try:
            released = None
            while released is None and not departure.called_off:
                with trio.CancelScope() as departure.draining:
                    released = await plane.release(backend, deadline=departure.deadline)
            if released is not None and released.cut:
                self.log.warning("backend.drain_timed_out", slot=backend.slot, cut=released.cut)
        finally:
            if not departure.called_off:
                self._probing.pop(backend).cancel()
                self.entries.remove(backend)
                del self.departures[backend]
                departure.gone.set()
