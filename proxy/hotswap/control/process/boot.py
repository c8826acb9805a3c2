"""The boot of a proxy, and the parts of it that a takeover does in another order.

The order: state directory, admin API, ports (bound, not yet accepting), the other user, guardian, pools, and only
then accepting, so that a port in use is told before any process was started, and so that requests which come early
are held instead of refused.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial

import trio

from hotswap.control.admin.serving import serve_admin
from hotswap.control.configuration.state_place import ADMIN_SOCKET, SPOOL
from hotswap.control.pools.lost_sockets import replace_unreachable
from hotswap.control.pools.release import read_releases
from hotswap.control.pools.start_places import StartPlaces
from hotswap.control.pools.surroundings import Surroundings
from hotswap.control.process.applying import apply_configuration
from hotswap.control.process.listeners import Listeners
from hotswap.control.process.memory import SpareMemory
from hotswap.control.process.notifying import serve_notifications
from hotswap.control.process.parts import Parts
from hotswap.control.process.privileges import identity_of
from hotswap.control.process.processors import usable_processors
from hotswap.control.process.start_warnings import tell_start_warnings
from hotswap.control.process.verbs import Verbs
from hotswap.control.takeover.stub import forget_pid
from hotswap.control.telemetry.version import PROGRAM_VERSION
from hotswap.core.address import UnixAddress
from hotswap.core.config import SupervisedPoolTable
from hotswap.core.process.phases import LENT, PhaseEvent
from hotswap.edge.loop.sockets import inherited_sockets
from hotswap.edge.upstream.probe import probe
from hotswap.processes.children import serve_orphans
from hotswap.processes.guardian import Guardian, wait_guardians_gone


async def boot(parts: Parts, verbs: Verbs) -> None:
    """Bring the first process of a proxy up, to the point at which its listeners accept.

    Raises:
        ConfigError: it cannot start with this configuration.
    """
    config, nursery, premises = parts.config, parts.nursery, parts.premises
    parts.log.info("proxy.starting", version=PROGRAM_VERSION, pid=os.getpid(), config=str(parts.config_path))
    await premises.enter(parts.log)
    state_dir, environment = premises.directory, dict(os.environ)
    authority = await trio.to_thread.run_sync(premises.authority_dir, environment)
    inherited = inherited_sockets(environment)
    listeners = parts.listeners = Listeners(state_dir=state_dir, authority_dir=authority, inherited=inherited)
    nursery.start_soon(parts.manager.serve_watchdog)
    place_admin(parts)
    await nursery.start(serve_admin, verbs, parts.door)
    prepared = await trio.to_thread.run_sync(listeners.prepare, config)
    listeners.refuse_unclaimed(prepared)
    # Not before: who was started a second time by mistake ends here, and the first goes on being followed.
    forget_pid(state_dir)
    premises.become_user()
    supervised = [table for table in config.pools.values() if isinstance(table, SupervisedPoolTable)]
    exclusive = not all(table.storage.shared for table in supervised)
    # A proxy that was killed leaves backends for some seconds, and theirs is the same storage.
    if exclusive and await wait_guardians_gone(parts.guardian_lock):
        parts.log.info("proxy.waited", detail="the backends of a proxy that was killed had to end first")
    surround(parts, Guardian(lock=parts.guardian_lock), environment)
    await nursery.start(parts.plane.serve)
    around = parts.surroundings
    releases = await read_releases(config.pools, environment=around.environment, guardian=around.guardian)
    apply_configuration(parts, config, prepared, releases)
    listeners.close_unused()
    nursery.start_soon(tell_start_warnings, parts)
    begin_serving(parts)


def place_admin(parts: Parts) -> None:
    """Say where the admin API always answers, and who may speak to it there."""
    parts.door.own = UnixAddress(str(parts.premises.directory / ADMIN_SOCKET))
    parts.door.group = parts.premises.group


def surround(parts: Parts, guardian: Guardian, environment: Mapping[str, str]) -> None:
    """Make what pools need of this process; the variables are those of the backends, but for who they are."""
    parts.guardian = guardian
    parts.plane.spool_directory = parts.premises.directory / SPOOL
    parts.surroundings = Surroundings(
        plane=parts.link,
        probe=partial(probe, names=parts.plane.names),
        events=parts.events,
        tally=parts.tally,
        log=parts.log,
        guardian=guardian,
        sockets=parts.premises.sockets,
        environment={**environment, **identity_of(parts.config.proxy.user)},
        predecessor=parts.predecessor,
        places=StartPlaces(usable_processors()),
    )
    parts.nursery.start_soon(guardian.serve)
    parts.nursery.start_soon(serve_orphans, parts.log)


def begin_serving(parts: Parts) -> None:
    """Note that listeners accept, and keep the service manager informed from here on."""
    parts.life.note(PhaseEvent.ACCEPTED)
    parts.nursery.start_soon(parts.traffic.serve, parts.log)
    parts.nursery.start_soon(SpareMemory().serve)
    watch = partial(parts.premises.watch, ours=lambda: parts.life.phase not in LENT, misses=parts.door.misses)
    parts.nursery.start_soon(watch, parts.log, partial(_restore_paths, parts))
    parts.nursery.start_soon(serve_notifications, parts)


def _restore_paths(parts: Parts) -> None:
    parts.door.reopen_missing()
    # On trial nothing is started.
    parts.nursery.start_soon(replace_unreachable, parts.pools, parts.life.settled)
