"""What a pool needs of the rest of the process, as protocols and one record, so that it runs without it too."""

from __future__ import annotations

import os
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from structlog.typing import FilteringBoundLogger

from hotswap.control.pools.start_places import StartPlaces
from hotswap.control.telemetry.events import EventLog
from hotswap.core.address import Address
from hotswap.core.config import HealthTable, PoolTable
from hotswap.core.http.exchange_view import ExchangeView
from hotswap.core.pool.backend import Backend
from hotswap.core.pool.counts import PoolCounts
from hotswap.core.pool.health import ProbeResult
from hotswap.core.pool.pool import Pool
from hotswap.core.pool.withdrawal import Released
from hotswap.core.tally import Tally
from hotswap.processes.exit_status import Exit
from hotswap.processes.guardian import Guardian


class Probe(Protocol):
    """One health check."""

    def __call__(
        self, address: Address, health: HealthTable, *, pool: str, h2c: bool = False
    ) -> Awaitable[ProbeResult]:
        """Check an address within the table's timeout; never raises."""


class Link(Protocol):
    """The way to whoever has connections to backends: a data plane, or the process before this one."""

    async def release(self, backend: Backend, *, deadline: float, leave_within: float = 0.0) -> Released:
        """Block until nothing is in flight in a backend that cannot be claimed, and no connection to it is left.

        What is in flight has until the deadline, on trio's clock, then it is cut; in the last `leave_within` seconds
        before it tunnels are told to leave. **Cancellation**: what is in flight goes on.
        """


class Plane(Link, Protocol):
    """The link to the data plane, as pools use it."""

    def add_pool(self, pool: Pool, table: PoolTable) -> None:
        """Relay to this pool; with the name of a known one, take over its changed table."""

    def drop_pool(self, name: str) -> None:
        """Forget a pool that no route names any more."""

    def in_flight(self, backend: Backend) -> int:
        """Count the exchanges in flight in a backend."""

    def served(self, backend: Backend) -> int:
        """Count the exchanges that a backend has been given so far."""

    def close_idle(self, backend: Backend) -> int:
        """Close the idle connections to a backend; gives how many."""

    def close_tunnels(self, backend: Backend, *, within: float) -> int:
        """Have the tunnels to a backend closed in order, spread over so many seconds; gives how many there are."""

    async def exchanges_in(self, backend: Backend) -> list[ExchangeView]:
        """Name what is in flight for a backend, the oldest first."""

    def pool_counts(self, name: str) -> PoolCounts:
        """Give the totals of a pool."""

    def restart_longest_hold(self, name: str) -> None:
        """Measure the longest hold of a pool anew, from now on."""


class EarlierOwner(Link, Protocol):
    """The proxy process before this one: it may still use the same backends, and is the parent of those it started."""

    def note_added(self, backend: Backend) -> None:
        """Tell it of a backend that can be claimed."""

    def note_gone(self, pid: int | None) -> None:
        """Tell it that a backend has ended."""

    def close_idle_clients(self) -> None:
        """Have it close idle connections, so that their clients come to this process."""

    async def exit_of(self, pid: int) -> Exit | None:
        """Give how a backend ended that this process is not the parent of, if its parent tells in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """The rest of the process, as a pool sees it.

    Attributes:
        plane: relays exchanges.
        probe: checks the health of an address.
        events: where every change is published.
        tally: where it is counted.
        log: where it is written.
        guardian: ends the backends should this process die; None in tests that look after it themselves.
        sockets: the directory for the sockets of backends, from `hotswap.processes.listening.open_directory`.
        environment: the variables this process was started with.
        jitter: gives random numbers from 0 up to 1.
        predecessor: the proxy process before this one, which may still use the same backends; None in tests.
        places: bounds how many backends boot at a time.
    """

    plane: Plane
    probe: Probe
    events: EventLog
    tally: Tally
    log: FilteringBoundLogger
    guardian: Guardian | None
    sockets: Path
    environment: Mapping[str, str] = field(repr=False)
    jitter: Callable[[], float] = random.random
    predecessor: EarlierOwner | None = None
    places: StartPlaces = field(default_factory=lambda: StartPlaces(os.cpu_count() or 1))

    @property
    def links(self) -> tuple[Link, ...]:
        """The ways to everybody who may have connections to the backends."""
        return (self.plane,) if self.predecessor is None else (self.plane, self.predecessor)
