"""The parts of a running proxy, as one record: what the rooms of control are given instead of the whole."""

from __future__ import annotations

import os
from pathlib import Path

import trio
from structlog.typing import FilteringBoundLogger

from hotswap.control.admin.sockets import AdminDoor
from hotswap.control.pools.pool_set import PoolSet
from hotswap.control.pools.surroundings import Surroundings
from hotswap.control.process.ledgers import choose_ledger
from hotswap.control.process.life import Life
from hotswap.control.process.listeners import Listeners
from hotswap.control.process.premises import Premises
from hotswap.control.rollout.book import RolloutBook
from hotswap.control.takeover.predecessor import Predecessor
from hotswap.control.telemetry.drains import DrainsBook
from hotswap.control.telemetry.events import EventLog, utc_now
from hotswap.control.telemetry.facts import FactsBook
from hotswap.control.telemetry.lines import LineWriter
from hotswap.control.telemetry.notify import ServiceManager
from hotswap.control.telemetry.traffic import TrafficRecorder
from hotswap.control.workers.local_link import LocalLink
from hotswap.core.config import Configuration
from hotswap.core.pool.events import PoolEvent
from hotswap.core.process.phases import Phase
from hotswap.core.tally import Tally
from hotswap.edge.dataplane import DataPlane
from hotswap.processes.guardian import Guardian


class Parts:
    """What a proxy is made of, from its first moment to its last.

    Attributes:
        config_path: the file that the configuration came from, read again by reloads.
        started: when the process started, ISO 8601 in UTC.
        processors: how many this process may use.
        access: the access log; None: it is off.
        nursery: of every task of the process; this and the next are there once the boot, or the takeover that stands
            for it, has made them.
        guardian: ends the backends should this process die.
        listeners: the public ones.
        surroundings: what pools need of this process.
    """

    nursery: trio.Nursery
    guardian: Guardian
    listeners: Listeners
    surroundings: Surroundings

    def __init__(self, config_path: Path, config: Configuration, *, access: LineWriter | None, phase: Phase) -> None:
        """Make what can be made before anything runs, to begin with a configuration in one of `PHASE_STARTS`."""
        self.config_path = config_path
        self.started = utc_now()
        self.processors = len(os.sched_getaffinity(0))
        self.access = access
        self.life = Life(config, phase=phase)
        self.premises = Premises(config, config_path)
        self.door = AdminDoor()
        self.manager = ServiceManager(os.environ)
        self.events = EventLog()
        self.tally = Tally()
        self.predecessor = Predecessor(self.log)
        self.book = RolloutBook(self.log)
        self.pools = PoolSet(processors=self.processors, observer=self._note_change)
        self.facts = FactsBook(self.pools.processes)
        self.plane = DataPlane(
            tally=self.tally,
            log=self.log,
            access=None if access is None else access.write,
            ledger=choose_ledger(config.proxy),
        )
        self.link = LocalLink(self.plane)
        self.drains = DrainsBook(self.pools.backends, self.link.exchanges_in)
        self.traffic = TrafficRecorder(self.plane.served, self.plane.forget_served)

    def _note_change(self, _event: PoolEvent) -> None:
        self.life.changed.set()

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
        return tuple(dict.fromkeys((self.premises.directory, *self.life.earlier_directories)))
