"""The parts of a running proxy, as one record: what the rooms of control are given instead of the whole."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import trio
from structlog.typing import FilteringBoundLogger

from hotswap.control.admin.sockets import AdminDoor
from hotswap.control.pools.pool_set import PoolSet
from hotswap.control.pools.surroundings import Surroundings
from hotswap.control.process.life import Life
from hotswap.control.process.listeners import Listeners
from hotswap.control.process.premises import Premises
from hotswap.control.rollout.book import RolloutBook
from hotswap.control.takeover.predecessor import Predecessor
from hotswap.control.telemetry.access import AccessLog
from hotswap.control.telemetry.events import EventLog
from hotswap.control.telemetry.facts import FactsBook
from hotswap.control.telemetry.notify import ServiceManager
from hotswap.control.telemetry.traffic import TrafficRecorder
from hotswap.core.config import Configuration
from hotswap.core.tally import Tally
from hotswap.edge.dataplane import DataPlane
from hotswap.processes.guardian import Guardian


@dataclass(slots=True, kw_only=True, eq=False, repr=False)
class Parts:
    """What a proxy is made of, from its first moment to its last.

    Attributes:
        config_path: the file that the configuration came from, read again by reloads.
        started: when the process started, ISO 8601 in UTC.
        processors: how many this process may use.
        life: what changes about the process.
        pools: every pool by name.
        plane: the data plane.
        book: every rollout.
        premises: its state directory and its user.
        door: where the admin API is reached.
        predecessor: the process before this one, for as long as it serves clients.
        manager: the service manager.
        events: every change of state.
        tally: what is counted.
        traffic: the last minutes of what was served.
        facts: what the kernel knows of the processes of backends.
        access: the access log.
        nursery: of every task of the process; this and the next are there once the boot, or the takeover that stands
            for it, has made them.
        guardian: ends the backends should this process die.
        listeners: the public ones.
        surroundings: what pools need of this process.
    """

    config_path: Path
    started: str
    processors: int
    life: Life
    pools: PoolSet
    plane: DataPlane
    book: RolloutBook
    premises: Premises
    door: AdminDoor
    predecessor: Predecessor
    manager: ServiceManager
    events: EventLog
    tally: Tally
    traffic: TrafficRecorder
    facts: FactsBook
    access: AccessLog
    nursery: trio.Nursery = field(init=False)
    guardian: Guardian = field(init=False)
    listeners: Listeners = field(init=False)
    surroundings: Surroundings = field(init=False)

    @property
    def config(self) -> Configuration:
        """What is in force."""
        return self.life.config

    @property
    def log(self) -> FilteringBoundLogger:
        """For what belongs to no pool."""
        return self.life.log

    @property
    def guardian_lock(self) -> Path:
        """The file that guardians hold locked while they live."""
        return self.premises.directory / "guardian.lock"

    @property
    def pid_directories(self) -> tuple[Path, ...]:
        """Where it is written who serves: the state directories of this proxy and of those before it."""
        return tuple(dict.fromkeys((self.surroundings.sockets, *self.life.earlier_directories)))
