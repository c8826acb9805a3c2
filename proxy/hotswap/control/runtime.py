"""The process as a whole: its pools, listeners and verbs, from boot to the last exchange.

The order of the boot: state directory, admin API, ports (bound, not yet accepting), the other user, guardian,
pools, and only then accepting, so that a port in use is told before any process was started, and so that
requests which come early are held instead of refused. The order of the end is the reverse: stop accepting,
let exchanges end, stop the backends, and the admin API last.

The verbs are those of the admin API and of signals. Those that must read a file or run a command first are
async; each answers only when it is decided.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import structlog
import trio
from structlog.typing import FilteringBoundLogger

from hotswap.control.admin import serve_admin
from hotswap.control.admin.sockets import AdminDoor
from hotswap.control.boot_watch import watch_boot
from hotswap.control.cautions import tell_cautions
from hotswap.control.events import EventLog
from hotswap.control.kept_settings import keep_settings
from hotswap.control.listeners import Listeners, Prepared
from hotswap.control.memory import SpareMemory
from hotswap.control.orders import Orders
from hotswap.control.pools.lost_sockets import replace_unreachable
from hotswap.control.pools.pool_set import PoolSet
from hotswap.control.pools.release import Release, read_releases
from hotswap.control.pools.start_places import StartPlaces
from hotswap.control.pools.surroundings import Surroundings
from hotswap.control.premises import Premises
from hotswap.control.processors import usable_processors
from hotswap.control.rollout.book import RolloutBook
from hotswap.control.rollout.reload import ReloadAnswer, Reloader
from hotswap.control.rollout.rollouts import RolloutRun
from hotswap.control.signals import HANDLED, serve_signals
from hotswap.control.takeover.order import CouldNotTakeOver, TakeoverOrder, TakeoverResult
from hotswap.control.takeover.predecessor import Predecessor
from hotswap.control.takeover.stub import forget_pid
from hotswap.control.takeover.takeover import Takeover
from hotswap.control.takeover.takeovers import serve_calls, start_takeover, succeed
from hotswap.control.telemetry.access import AccessLog
from hotswap.control.telemetry.drains import DrainsBook
from hotswap.control.telemetry.facts import FactsBook
from hotswap.control.telemetry.notify import ServiceManager
from hotswap.control.telemetry.status import describe
from hotswap.control.telemetry.traffic import TrafficRecorder
from hotswap.control.version import PROGRAM_VERSION
from hotswap.control.workers.local_link import LocalLink
from hotswap.core.address import Address
from hotswap.core.config import AccessLogFormat, Configuration, SupervisedPoolTable
from hotswap.core.errors import ConfigError, ProxyError
from hotswap.core.pool.events import PoolEvent
from hotswap.core.routing import Router
from hotswap.core.tally import Tally
from hotswap.edge.dataplane import DataPlane
from hotswap.edge.exchange.combined_ledger import CombinedLedger
from hotswap.edge.exchange.ledger import Ledger
from hotswap.edge.loop.sockets import inherited_sockets
from hotswap.edge.upstream.probe import probe
from hotswap.processes.children import end_orphans, serve_orphans
from hotswap.processes.guardian import Guardian, start_guardian, wait_guardians_gone

PREDECESSOR_GRACE = 2.0
"""Seconds beyond its own time for a graceful stop that a process before this one is waited for."""

__all__ = ["ReloadAnswer", "Runtime"]


class Runtime(Orders):
    """A running proxy; the verbs of admin API and signals.

    Attributes:
        config: what is in force.
        config_path: the file it came from.
        pools: every pool by name.
        events: every change of state.
        tally: what is counted.
        started: when the process started, ISO 8601 in UTC.
        serving: there are pools, and listeners that accept.
        booted: every pool has been ready.
        stopping: it ends; nothing is started any more.
        changed: set and made anew whenever something is to be told to the service manager.
        processors: how many this process may use.
        log: for what belongs to no pool.
        incarnation: number of this process among those that took over from each other; 1 for the first.
        takeover: the takeover by which this process is replaced, while there is one.
        settling: this process has taken over, and everything could still return.
        predecessor: the process before this one, for as long as it serves clients.
        successor: the process that has everything now; 0 while there is none.
        manager, guardian, admin_door, nursery: what a takeover needs to reach.
        plane, link, listeners, book, surroundings, premises, access: its parts.
        traffic: the last minutes of what was served.
        facts: what the kernel knows of the processes of backends.
        drains: what is in flight in those on their way out.
    """

    surroundings: Surroundings
    listeners: Listeners
    guardian: Guardian
    nursery: trio.Nursery

    def __init__(
        self,
        config_path: Path,
        config: Configuration,
        *,
        access: AccessLog,
        old: socket.socket | None = None,
    ) -> None:
        """Make it, inside trio; nothing runs before `serve`.

        Args:
            config_path: the file the configuration came from, read again by reloads.
            config: the configuration to begin with.
            access: the access log.
            old: connected to the process to take over from; None: there is none.
        """
        self.config = config
        self.config_path = config_path
        self.events = EventLog()
        self.tally = Tally()
        self.started = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self.booted = False
        self.serving = False
        self.stopping = False
        self.processors = len(os.sched_getaffinity(0))
        self.pools = PoolSet(processors=self.processors, observer=self._note_change)
        self.log: FilteringBoundLogger = structlog.get_logger()
        self.plane = DataPlane(
            tally=self.tally,
            log=self.log,
            access=access.write if access.enabled else None,
            ledger=CombinedLedger if config.proxy.access_log_format is AccessLogFormat.COMBINED else Ledger,
        )
        self.facts = FactsBook(self.pools.processes)
        self.link = LocalLink(self.plane)
        self.drains = DrainsBook(self.pools.backends, self.link.exchanges_in)
        self.traffic = TrafficRecorder(self.plane.served, self.plane.forget_served)
        self.book = RolloutBook(self.log)
        self.access = access
        self.premises = Premises(config, config_path)
        self._old = old
        self.incarnation = 1
        self.takeover: Takeover | None = None
        self.settling = False
        self.predecessor = Predecessor(self.log)
        self.manager = ServiceManager(os.environ)
        self.admin_door = AdminDoor()
        self._departed = False
        self.successor = 0
        self.settled = trio.Event()
        self.earlier_directories: tuple[Path, ...] = ()
        self._reloader = Reloader(self)
        self._stop_asked = trio.Event()
        self._end_scope = trio.CancelScope()
        self._boot_scope = trio.CancelScope()
        self.changed = trio.Event()

    async def serve(self) -> None:
        """Run until it is stopped.

        Raises:
            ConfigError: it cannot start with this configuration.

        **Cancellation** ends everything at once; backends are killed.
        """
        failure: ProxyError | None = None
        with trio.open_signal_receiver(*HANDLED) as signals:
            async with trio.open_nursery() as nursery:
                self.nursery = nursery
                nursery.start_soon(serve_signals, signals, self, self.log)
                try:
                    with self._boot_scope:
                        await (self._boot() if self._old is None else succeed(self, self._old))
                        await self._stop_asked.wait()
                except (ConfigError, CouldNotTakeOver) as error:
                    failure = error
                else:
                    with self._end_scope:
                        await self._end()
                nursery.cancel_scope.cancel()
        if hasattr(self, "listeners"):
            self.listeners.close_given()
        self.premises.leave()
        if failure is not None:
            raise failure

    async def _boot(self) -> None:
        config, nursery = self.config, self.nursery
        self.log.info("proxy.starting", version=PROGRAM_VERSION, pid=os.getpid(), config=str(self.config_path))
        await self.premises.enter(self.log)
        state_dir, environment = self.premises.directory, dict(os.environ)
        self.listeners = Listeners(state_dir=state_dir, inherited=inherited_sockets(environment))
        nursery.start_soon(self.manager.serve_watchdog)
        await self.open_admin({})
        prepared = await trio.to_thread.run_sync(self.listeners.prepare, config.listeners)
        self.listeners.refuse_unclaimed(prepared)
        # Not before: who was started a second time by mistake ends here, and the first goes on being followed.
        forget_pid(state_dir)
        self.premises.become_user()
        supervised = [table for table in config.pools.values() if isinstance(table, SupervisedPoolTable)]
        exclusive = not all(table.storage.shared for table in supervised)
        # A proxy that was killed leaves backends for some seconds, and theirs is the same storage.
        if exclusive and await wait_guardians_gone(self.guardian_lock):
            self.log.info("proxy.waited", detail="the backends of a proxy that was killed had to end first")
        self.surround(start_guardian(self.guardian_lock), environment)
        await nursery.start(self.plane.serve)
        nursery.start_soon(self.traffic.serve, self.log)
        releases = await read_releases(config.pools, environment=self.surroundings.environment, guardian=self.guardian)
        self.take_over(config, prepared, releases)
        self.listeners.close_unused()
        self.begin_serving()
        nursery.start_soon(serve_calls, self)

    def begin_serving(self) -> None:
        """Note that listeners accept, and keep the service manager informed from here on."""
        self.serving = True
        self.nursery.start_soon(SpareMemory().serve)
        self.nursery.start_soon(partial(self.premises.watch, self.log, self._restore_paths, ours=self._owns_backends))
        self.nursery.start_soon(watch_boot, self)

    def _restore_paths(self) -> None:
        self.admin_door.reopen_missing()
        # On trial nothing is started.
        self.nursery.start_soon(replace_unreachable, self.pools, self.settled if self.succeeding else None)

    def surround(self, guardian: Guardian, environment: Mapping[str, str]) -> None:
        """Make what pools need of this process.

        Args:
            guardian: ends the backends should it die.
            environment: their variables, but for those that say who they are.
        """
        self.guardian = guardian
        self.surroundings = Surroundings(
            plane=self.link,
            probe=partial(probe, names=self.plane.names),
            events=self.events,
            tally=self.tally,
            log=self.log,
            guardian=guardian,
            sockets=self.premises.directory,
            environment={**environment, **self.premises.identity()},
            predecessor=self.predecessor,
            places=StartPlaces(usable_processors()),
        )
        self.nursery.start_soon(guardian.serve)
        self.nursery.start_soon(serve_orphans, self.log)

    async def open_admin(self, inherited: Mapping[Address, socket.socket]) -> None:
        """Listen for the admin API, and serve it at once unless its sockets come from another process.

        Raises:
            ConfigError: an address or the token file cannot be had.
        """
        if self._old is not None:
            self.admin_door = AdminDoor(inherited=inherited, closed=True)
        await self.nursery.start(serve_admin, self, self.admin_door)

    @property
    def taken_over(self) -> bool:
        """A takeover is going on, so nothing else may begin."""
        return self.takeover is not None or self.settling

    @property
    def succeeding(self) -> bool:
        """This process takes over, and everything could still return."""
        return self._old is not None and not self.settled.is_set()

    @property
    def guardian_lock(self) -> Path:
        """The file that guardians hold locked while they live."""
        return self.premises.directory / "guardian.lock"

    @property
    def pid_directories(self) -> tuple[Path, ...]:
        """Where it is written who serves: the state directories of this proxy and of those before it."""
        return tuple(dict.fromkeys((self.surroundings.sockets, *self.earlier_directories)))

    def note_settled(self) -> None:
        """Everything that was taken over is ours for good."""
        self.settling = False
        self.settled.set()
        self._note_change()

    def depart(self, successor: int) -> None:
        """End, because another process has everything."""
        self._departed = True
        self.successor = successor
        self._stop_asked.set()

    async def start_takeover(self, order: TakeoverOrder | None = None) -> TakeoverResult:
        """Hand everything to a new process; see `hotswap.control.takeover.takeovers.start_takeover`.

        Raises:
            Refused: it was not begun; nothing was changed.
            TakeoverFailed: it was given up; everything is as before.
        """
        return await start_takeover(self, order or TakeoverOrder())

    def _note_change(self, _event: PoolEvent | None = None) -> None:
        self.changed.set()

    async def _end(self) -> None:
        if self.takeover is not None:
            self.takeover.ask_stop()
            await self.takeover.ended.wait()
        if self._departed:
            # Clients were cut in the end; what is left of the backends that stayed ours needs a moment more.
            await self.pools.wait_own_ended()
            self.log.info("proxy.departed", detail="another process has everything")
            return
        if self.settling:
            self.predecessor.say_stopping()
            await self.settled.wait()
        self.predecessor.hurry()
        timeout = self.config.proxy.shutdown_timeout
        self.log.info("proxy.stopping", shutdown_timeout=timeout)
        self.events.publish("proxy.stopping")
        self.manager.stopping()
        self._note_change()
        for run in self.book.unfinished():
            run.abort("shutting-down")
        async with trio.open_nursery() as nursery:
            # It may be what serves yet, and a service manager ends it with this process.
            patience = timeout + self.pools.longest_stop_timeout() + PREDECESSOR_GRACE
            nursery.start_soon(partial(self.predecessor.wait_gone, timeout=patience))
            await self.plane.drain_downstream(timeout=timeout)
        with trio.move_on_after(self.pools.longest_stop_timeout()):
            for run in self.book.unfinished():
                await run.ended.wait()
        await self.pools.stop_all()
        await end_orphans(self.log)
        self.log.info("proxy.stopped")

    def take_over(self, config: Configuration, prepared: Prepared, releases: Mapping[str, Release]) -> tuple[str, ...]:
        """Make a configuration the one in force: new pools, routes, listeners, pools that are gone.

        Nothing in here waits or fails, so no request meets half of it.

        Args:
            config: the configuration.
            prepared: its listeners.
            releases: what the backends of its new supervised pools are started from.

        Returns:
            What changed, in words.
        """
        router = Router(config.routes)
        changes = [*self.pools.apply(config.pools, releases, self.surroundings, self.nursery)]
        if config.routes != self.config.routes:
            changes.append("routes changed")
        self.plane.set_router(router)
        changes += self.listeners.commit(prepared, self.plane)
        changes += self.pools.drop(config.pools, self.nursery, static_drain_timeout=config.proxy.shutdown_timeout)
        before = self.config
        changes += self._adopt(config)
        if self.booted:
            tell_cautions(self.log, self.config, before=before)
            self.log.info("config.applied", changes=changes)
            self.events.publish("config.applied", changes=changes)
        return tuple(changes)

    def _adopt(self, config: Configuration) -> list[str]:
        """Keep what a running process cannot change, and give it in words."""
        self.config, later = keep_settings(self.config, config)
        for table, keys in later.items():
            self.log.warning("config.needs_restart", table=table, keys=keys)
        return [f"{table}.{key} takes effect at the next start" for table, keys in later.items() for key in keys]

    def start_rollouts(self, runs: Sequence[RolloutRun]) -> None:
        """Perform rollouts one after the other, from now on."""
        if runs:
            self.book.start(runs, self.nursery)
            self._note_change()

    def ready(self) -> bool:
        """Tell whether it has started and every pool has a backend that can be claimed."""
        return self.serving and not self.stopping and self.pools.ready()

    def status(self) -> dict[str, Any]:
        """Give the state now, ready for JSON; of processes what the last `look` has found."""
        return describe(self)

    def stop(self) -> None:
        """Stop gracefully; called a second time, at once."""
        if self.stopping:
            self.log.warning("proxy.stopping_at_once")
            self.predecessor.terminate(everybody=True)
            self._end_scope.cancel()
        self.stopping = True
        self._stop_asked.set()
        self._boot_scope.cancel()
