"""What the new process gets from the old one: received piece by piece, checked, and not yet ours.

Whatever is in here may be dropped at any moment before the commit: sockets are copies, pools have no task, and of
the backends nothing but descriptors is known.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import trio

from hotswap.control.admin.serving import serve_admin
from hotswap.control.pools.members import SERVING
from hotswap.control.pools.release import Release, read_release, read_releases
from hotswap.control.pools.supervised_pool import SupervisedPool
from hotswap.control.process.boot import place_admin, surround
from hotswap.control.process.listeners import HandedSocket, Listeners, Prepared
from hotswap.control.process.parts import Parts
from hotswap.control.process.verbs import Verbs
from hotswap.control.takeover.adoption import Adopted, adopt_backend
from hotswap.control.takeover.channel import Received, is_dead, unseal
from hotswap.control.takeover.handover_state import HandoverState, SupervisedState, read_state
from hotswap.core.address import Address, parse_address
from hotswap.core.config import StaticPoolTable, SupervisedPoolTable
from hotswap.core.errors import BackendError, ConfigError
from hotswap.core.pool.lifecycle import BackendState, Health
from hotswap.core.takeover.ledgers import AdoptionLedger
from hotswap.edge.loop.sockets import matches
from hotswap.processes.guardian import Guardian
from hotswap.wire.handover import HandoverBroken

PROBES: Final = 3
"""How often a backend is asked, that the old side finds healthy, before it is called bad."""


class Inheritance:
    """Everything that was received.

    Attributes:
        state: what travelled as JSON.
        handed: public listening sockets.
        admin: those of the admin API, by the address that the old configuration asked for.
        pools: supervised pools with the backends that were received.
        adopted: these backends.
        prepared: the listeners of our configuration; None before `make_ready`.
        releases: what new pools are started from.
        renewed: what pools are started from in which nothing serves, as our configuration has them.
    """

    state: HandoverState

    def __init__(self, parts: Parts, verbs: Verbs) -> None:
        self.handed: list[HandedSocket] = []
        self.admin: dict[Address, socket.socket] = {}
        self.pools: dict[str, SupervisedPool] = {}
        self.adopted: list[Adopted] = []
        self.prepared: Prepared | None = None
        self.releases: Mapping[str, Release] = {}
        self.renewed: dict[str, Release] = {}
        self._parts = parts
        self._verbs = verbs
        self._ledger: AdoptionLedger[int] = AdoptionLedger()

    @property
    def complete(self) -> bool:
        """Every backend that was announced has been received."""
        return self._ledger.complete

    def take_listener(self, received: Received) -> None:
        """Take a listening socket, and check that it is what it is called."""
        frame = received.frame
        sock = socket.socket(fileno=received.descriptors.take())
        try:
            asked = parse_address(frame.text("asked"))
            if sock.type != socket.SOCK_STREAM or not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                raise HandoverBroken(f"{asked} is no listening socket")
            port = getattr(asked, "port", None)
            if port != 0 and not matches(sock, asked):
                raise HandoverBroken(f"the socket for {asked} listens on {sock.getsockname()}")
            sock.setblocking(False)
        except BaseException:
            sock.close()
            raise
        if frame.text("role") == "admin":
            self.admin[asked] = sock
        else:
            owned = bool(frame.body.get("owned"))
            self.handed.append(HandedSocket(listener=frame.text("name"), asked=asked, socket=sock, owned=owned))

    def take_state(self, received: Received) -> None:
        """Take the state, and make the pools it speaks of; nothing runs in them."""
        self.state = read_state(unseal(received.descriptors.take()))
        self._parts.life.earlier_directories = tuple(map(Path, self.state.pid_directories))
        parts = self._parts
        guardian = Guardian(received.descriptors.take(), lock=parts.guardian_lock)
        self._ledger.expect(int(pid) for pid in received.frame.body["backends"])
        surround(parts, guardian, os.environ)
        for name, state in self.state.supervised.items():
            release = state.releases[state.generation]
            pool = SupervisedPool(name, release, parts.surroundings, processors=parts.processors)
            pool.freeze()
            _restore(pool, state)
            self.pools[name] = pool

    def take_backend(self, received: Received) -> None:
        """Take a backend; one that has ended meanwhile is only noted."""
        gone = bool(received.frame.body.get("gone"))
        self._ledger.note_received(received.frame.number("pid"), gone=gone)
        if gone:
            return
        pool = self.pools[received.frame.text("pool")]
        self.adopted.append(adopt_backend(pool, received, self._parts.surroundings))

    def take_commit(self, received: Received) -> None:
        """Bring what we know up to date: the old side went on living since it sent it.

        Raises:
            ProxyError: it cannot be understood, or gives away what never came.
        """
        self.state = read_state(unseal(received.descriptors.take()))
        for name, state in self.state.supervised.items():
            if name in self.pools:
                _restore(self.pools[name], state)
        told = {int(one["pid"]): one for one in received.frame.body["backends"]}
        self._ledger.commit(told)
        kept = []
        for adopted in self.adopted:
            word = told.get(adopted.member.process.pid)
            # A process id may be used again between two deaths.
            if word is None or word.get("start", adopted.member.process.start) != adopted.member.process.start:
                adopted.discard()
                continue
            adopted.settle(BackendState(word["state"]), Health(word["health"]))
            kept.append(adopted)
        self.adopted = kept

    async def make_ready(self) -> None:
        """Bind what is new, read what is new, and check every backend ourselves; nothing serves yet.

        Raises:
            ProxyError: this process cannot take over.
        """
        parts = self._parts
        tables = parts.config.pools
        for name, table in tables.items():
            other = name in (self.state.static if not isinstance(table, StaticPoolTable) else self.state.supervised)
            if other:
                raise BackendError(f"pool {name} is of another kind in the new configuration")
        authority = await trio.to_thread.run_sync(parts.premises.authority_dir, os.environ)
        parts.listeners = Listeners(state_dir=parts.premises.directory, authority_dir=authority, handed=self.handed)
        self.prepared = await trio.to_thread.run_sync(parts.listeners.prepare, parts.config)
        # Whoever calls the admin API is left in the queue for now.
        place_admin(parts)
        parts.door.inherit(self.admin)
        await parts.nursery.start(serve_admin, self._verbs, parts.door)
        # One that root has started to take over becomes the user here, as in a boot.
        parts.premises.become_user()
        await parts.nursery.start(parts.plane.serve)
        async with trio.open_nursery() as nursery:
            for adopted in self.adopted:
                nursery.start_soon(self._check, adopted)
            nursery.start_soon(self._prove_new_pools)
            for name, table in tables.items():
                if isinstance(table, SupervisedPoolTable) and name in self.pools and self._down(self.pools[name]):
                    nursery.start_soon(self._read_anew, name, table)

    def _down(self, pool: SupervisedPool) -> bool:
        """Whether nothing of a pool serves, or drains by order, and nobody has to unlock it first."""
        adopted = any(one.pool is pool and one.state in SERVING for one in self.adopted)
        return not adopted and not pool.members.serving() and pool.core.locked is None

    async def _read_anew(self, name: str, table: SupervisedPoolTable) -> None:
        """Read what a pool would be started from now; where that cannot be, it goes on with what it has."""
        around = self._parts.surroundings
        try:
            release = await read_release(name, table, environment=around.environment, guardian=around.guardian)
        except ConfigError as error:
            self.pools[name].log.warning("takeover.release_kept", detail=error.detail)
        else:
            self.renewed[name] = release

    def renew(self) -> None:
        """Have the pools in which nothing serves started from what our configuration says; call before they run.

        What they had could not serve, so there is nothing to keep and nothing to be incompatible with.
        """
        for name, release in self.renewed.items():
            if self._down(self.pools[name]):
                self.pools[name].start_anew(release)

    async def _prove_new_pools(self) -> None:
        """Start the pools that the old process does not have, and block until all are up: requests come with LIVE.

        Raises:
            PoolNotStarted: one did not come up.
        """
        parts, around = self._parts, self._parts.surroundings
        tables, known = parts.config.pools, {*self.state.supervised, *self.state.static}
        new = {name: table for name, table in tables.items() if name not in known}
        self.releases = await read_releases(new, environment=around.environment, guardian=around.guardian)
        await parts.pools.prove(new, self.releases, around, parts.nursery, static=not known <= set(tables))

    async def _check(self, adopted: Adopted) -> None:
        """Ask a backend ourselves; one that the old side finds healthy and we cannot reach is a reason to give up."""
        if adopted.state is not BackendState.READY or adopted.health is not Health.HEALTHY:
            return
        table = adopted.member.release.table.health
        for attempt in range(PROBES):
            result = await self._parts.surroundings.probe(
                adopted.member.backend.address, table, pool=adopted.pool.name, h2c=adopted.member.backend.h2c
            )
            if result.ok or is_dead(adopted.member.process.handles.pidfd):
                return
            if attempt + 1 < PROBES:
                await trio.sleep(table.interval / PROBES)
        raise BackendError(
            f"the backend in slot {adopted.member.backend.slot} of pool {adopted.pool.name} is healthy for the old "
            f"process and not for this one: {result.detail}"
        )

    def drop(self) -> None:
        """Close what was bound for nothing; what was received goes with the process."""
        if self.prepared is not None:
            self.prepared.discard()


def _restore(pool: SupervisedPool, state: SupervisedState) -> None:
    pool.restore(
        generation=state.generation,
        newest=state.newest,
        releases=state.releases,
        slots=state.slots,
        errors=state.errors,
        directories=state.directories,
    )
    if state.locked is not None:
        pool.core.lock(state.locked)
    if state.paused:
        pool.core.pause(state.answer)
