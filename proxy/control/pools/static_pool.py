"""A pool whose backends something else runs: addresses, one a slot, and the probes that judge them.

They are in rotation from the start and claimable once a probe has passed. Nothing here starts or stops a
backend; drain, readmit and pause work as for supervised pools, and reloads are refused with `not-supervised`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping

import trio
from structlog.typing import FilteringBoundLogger

from proxy.control.pools import rotation
from proxy.control.pools.announcements import Announcer
from proxy.control.pools.entries import Entries
from proxy.control.pools.probing import serve_probes
from proxy.control.pools.surroundings import Surroundings
from proxy.core.address import Address
from proxy.core.backend import Backend
from proxy.core.config import StaticPoolTable
from proxy.core.config.pools import Protocol
from proxy.core.errors import UnknownSlot
from proxy.core.lifecycle import BackendState, Health
from proxy.core.pool import BackendDrained, Pool, PoolEvent


class StaticPool:
    """A static pool at work.

    Attributes:
        name: its name.
        core, entries: its backends, as the data plane sees them and as they are changed here.
        table: its definition.
        generation: 1; nothing here is ever rolled.
        stopping: it is being ended.
    """

    def __init__(self, name: str, table: StaticPoolTable, surroundings: Surroundings) -> None:
        """Make it; nothing is probed before `serve`."""
        self.name = name
        self.table = table
        self.generation = 1
        self.stopping = False
        self.log: FilteringBoundLogger = surroundings.log.bind(pool=name)
        self.surroundings = surroundings
        self._nursery: trio.Nursery | None = None
        self._probing: dict[Backend, trio.CancelScope] = {}
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
        """Each address has been found healthy or unhealthy."""
        return all(backend.health is not Health.UNKNOWN for backend in self.core.backends)

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Probe the addresses until cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                self.surroundings.plane.add_pool(self.core, self.table)
                for slot, address in enumerate(self.table.addresses):
                    self._add(slot, address)
                task_status.started()
                await trio.sleep_forever()
        finally:
            self._nursery = None

    def restore(self, healths: Mapping[str, str], *, drained: Collection[str]) -> None:
        """Begin with the verdicts of the process before this one; before `serve`.

        Args:
            healths: verdicts by address.
            drained: addresses that an operator has taken out of rotation.
        """
        self._healths = dict(healths)
        self._drained = frozenset(drained)

    def reconfigure(self, table: StaticPoolTable) -> None:
        """Take over a changed definition: addresses that stay are kept, those that go end what is in flight."""
        probed_alike = table.health == self.table.health
        self.table = table
        self.core.reconfigure(balance=table.balance, size=len(table.addresses), max_in_flight=table.max_in_flight)
        self.surroundings.plane.add_pool(self.core, table)
        wanted = dict(enumerate(table.addresses))
        for backend in tuple(self.core.backends):
            if wanted.get(backend.slot) != backend.address:
                self._start(self._leave, backend)
                continue
            del wanted[backend.slot]
            if not probed_alike:
                self._probing[backend].cancel()
                self._start_probing(backend)
        for slot, address in wanted.items():
            self._add(slot, address)

    async def stop(self, *, drain_timeout: float) -> None:
        """Take every backend out of rotation and end what is in flight.

        Args:
            drain_timeout: seconds for what is in flight; what is left then is cut.
        """
        self.stopping = self._announcer.ending = True
        async with trio.open_nursery() as nursery:
            for backend in tuple(self.core.backends):
                nursery.start_soon(self._leave, backend, drain_timeout)

    def drain_slot(self, number: int) -> None:
        """Take a backend out of rotation until it is readmitted.

        Raises:
            UnknownSlot: there is no such slot.
            Refused: no other backend could be claimed then.
        """
        if rotation.drain(self._backend_in(number), self.entries):
            self.log.info("backend.draining", slot=number, by="operator")

    def readmit_slot(self, number: int) -> None:
        """Bring a drained backend back into rotation; nothing happens when it is there.

        Raises:
            UnknownSlot: there is no such slot.
        """
        if rotation.readmit(self._backend_in(number), self.entries):
            self.log.info("backend.readmitted", slot=number, by="operator")

    def is_drained(self, number: int) -> bool:
        """Whether an operator has taken a slot out of rotation."""
        newest = self._newest_in(number)
        return newest is not None and newest.state is BackendState.DRAINING

    def _newest_in(self, number: int) -> Backend | None:
        return next((backend for backend in reversed(self.core.backends) if backend.slot == number), None)

    def _backend_in(self, number: int) -> Backend:
        backend = self._newest_in(number)
        if backend is None or number >= self.core.size:
            raise UnknownSlot(number, range(self.core.size))
        return backend

    def _add(self, slot: int, address: Address) -> None:
        self.entries.tell(
            lambda: self.core.add(
                slot=slot,
                generation=self.generation,
                address=address,
                state=BackendState.READY,
                health=Health(self._healths.get(str(address), Health.UNKNOWN)),
                now=trio.current_time(),
            )
        )
        if str(address) in self._drained:
            self.entries.move(self.core.backends[-1], BackendState.DRAINING)
        self._start_probing(self.core.backends[-1])

    def _start_probing(self, backend: Backend) -> None:
        self._probing[backend] = trio.CancelScope()
        self._start(self._probe, backend, self._probing[backend])

    def _start(self, work: Callable[..., Awaitable[None]], *arguments: object) -> None:
        if self._nursery is not None:
            self._nursery.start_soon(work, *arguments)

    async def _probe(self, backend: Backend, scope: trio.CancelScope) -> None:
        log = self.log.bind(slot=backend.slot, address=str(backend.address))
        with scope:
            await serve_probes(
                self.core,
                backend,
                self.table.health,
                self.surroundings,
                log,
                first_after=0.0,
                h2c=self.table.protocol is Protocol.H2C,
            )

    async def _leave(self, backend: Backend, drain_timeout: float | None = None) -> None:
        """Take a backend out of rotation, let what is in flight end, and forget it."""
        drained = trio.Event()

        def note(event: PoolEvent) -> None:
            if isinstance(event, BackendDrained) and event.backend is backend:
                drained.set()

        stop_observing = self.core.observe(note)
        try:
            if backend.state is BackendState.READY:
                self.entries.move(backend, BackendState.DRAINING)
            with trio.move_on_after(self.table.hold_timeout if drain_timeout is None else drain_timeout):
                if backend.in_flight:
                    await drained.wait()
        finally:
            stop_observing()
        plane = self.surroundings.plane
        if backend.in_flight:
            self.log.warning("backend.drain_timed_out", slot=backend.slot, cut=plane.cut(backend))
        plane.close_idle(backend)
        self._probing.pop(backend).cancel()
        self.entries.remove(backend)
