"""A backend that another proxy process started becomes one of ours."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, field

import trio

from hotswap.control.pools.supervised_backend import SupervisedBackend
from hotswap.control.pools.supervised_pool import SupervisedPool
from hotswap.control.pools.surroundings import Surroundings
from hotswap.control.takeover.channel import Received
from hotswap.core.address import parse_address
from hotswap.core.pool.lifecycle import BackendState, Health
from hotswap.processes.notification import NotifySocket
from hotswap.processes.supervisor import BackendProcess, ProcessHandles
from hotswap.wire.handover import HandoverBroken


@dataclass(slots=True, kw_only=True)
class Adopted:
    """A backend that was received; nothing is done with it before `settle`.

    Attributes:
        member: it, as the pool will know it.
        pool: its pool.
        state, health: what the process before this one said of it last.
    """

    member: SupervisedBackend
    pool: SupervisedPool
    state: BackendState
    health: Health
    _settled: bool = field(default=False)

    def settle(self, state: BackendState, health: Health) -> None:
        """Let the pool look after it, as soon as the pool is at work."""
        backend = self.member.backend
        self.state, self.health = state, health
        if self._settled:
            return
        self._settled = True
        drained = state is BackendState.DRAINING
        self.pool.entries.admit(backend, drained=drained, health=health)
        if backend.slot in self.pool.slots:
            # Later than what the state said of the slot.
            self.pool.slots[backend.slot].drained = drained
        self.pool.members.take_in(self.member)

    def discard(self) -> None:
        """Forget it: it has ended, or stays with the process before this one."""
        self.pool.entries.bury(self.member.backend)
        self.member.process.give_back()


def adopt_backend(pool: SupervisedPool, received: Received, surroundings: Surroundings) -> Adopted:
    """Enter a backend that was received into its pool, as starting.

    Raises:
        HandoverBroken: the frame cannot be understood.
    """
    frame = received.frame
    generation = frame.number("generation")
    release = pool.releases.get(generation)
    if release is None:
        raise HandoverBroken(f"no release of generation {generation} of pool {pool.name} came with the state")
    try:
        address = parse_address(frame.text("address"))
        state, health = BackendState(frame.text("state")), Health(frame.text("health"))
    except ValueError as error:
        raise HandoverBroken(f"a backend of pool {pool.name} cannot be understood: {error}") from error
    pid, slot = frame.number("pid"), frame.number("slot")
    bound = pool.log.bind(slot=slot, generation=generation)

    def relay(line: str) -> None:
        bound.info("backend.output", line=line)

    pidfd = received.descriptors.take()
    output = received.descriptors.take() if frame.body.get("output") else None
    path = frame.body.get("notify")
    notify = None
    if isinstance(path, str):
        notify = NotifySocket(path, socket.socket(fileno=received.descriptors.take()))
    os.set_inheritable(pidfd, False)
    process = BackendProcess(
        ProcessHandles(pid=pid, start=frame.number("start"), pidfd=pidfd, output=output, notify=notify),
        address=address,
        stop_signal=release.recipe.stop_signal,
        relay=relay,
        log=bound,
        guardian=surroundings.guardian,
        tail=tuple(str(line) for line in frame.body.get("tail", ())),
        adopted=True,
    )
    process.status = str(frame.body.get("status", ""))
    backend = pool.core.add(
        slot=slot,
        generation=generation,
        address=address,
        h2c=release.table.h2c,
        now=trio.current_time(),
        pid=pid,
        directory=release.directory,
        sendfile=release.table.sendfile_roots,
    )
    member = SupervisedBackend(backend, process, release, surroundings, bound.bind(pid=pid))
    ready_for = frame.body.get("ready_for")
    member.ready_at = trio.current_time() - (float(ready_for) if isinstance(ready_for, int | float) else 0.0)
    return Adopted(member=member, pool=pool, state=state, health=health)
