"""A pool whose backends belong to another proxy process: they are used here, and nothing is done to them.

It begins when this process is replaced, and lasts until its last client is gone, or until the other process dies
and everything returns. What the other process starts and ends is followed, so that clients here are served to the
last.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import TYPE_CHECKING

import trio

from hotswap.control.pools.ending import let_go
from hotswap.control.pools.supervised_backend import StartReason, SupervisedBackend
from hotswap.core.address import Address
from hotswap.core.backend import Backend
from hotswap.core.lifecycle import BackendState
from hotswap.processes.supervisor import Exit

if TYPE_CHECKING:
    from hotswap.control.pools.supervised_pool import SupervisedPool


class PoolHandover:
    """What another owner of a pool's backends means for the pool.

    Attributes:
        active: the backends belong to another process.
        on_exit: called with process id and end of a backend whose parent this process is.
    """

    def __init__(self, pool: SupervisedPool) -> None:
        self.active = False
        self.on_exit: Callable[[int, Exit], None] | None = None
        self._pool = pool

    def begin(self, going: Collection[SupervisedBackend]) -> None:
        """Keep our hands off these backends from now on: they belong to another proxy process.

        Every other one stays ours until it is gone: what is on its way out goes on, what is still starting is ended.
        Requests for a slot without a backend are held, because the other process fills it.
        """
        pool = self._pool
        pool.frozen = True
        for slot in pool.slots.values():
            pool.filler.leave(slot)
        for member in tuple(pool.members):
            if member.backend.state is BackendState.STARTING:
                let_go(member, pool.entries)
        for member in pool.serving_members():
            if member in going:
                member.hand_over()
            else:
                pool.part_with(member)
        self.active = True
        self._expect_empty_slots()

    def take_back(self) -> None:
        """Look after the backends again, because the other process is gone."""
        pool = self._pool
        pool.frozen = self.active = False
        for member in pool.members:
            if member.handed_over:
                member.take_back()
        for backend in tuple(pool.core.backends):
            # What the other process started died with it.
            if all(member.backend is not backend for member in pool.members):
                self._note_gone(backend)
        pool.refill(StartReason.REFILL)

    def note_exit(self, member: SupervisedBackend, ended: Exit) -> None:
        """A backend has ended; its owner is told, and does what is to be done."""
        self._note_gone(member.backend)
        if self.on_exit is not None:
            self.on_exit(member.process.pid, ended)

    def follow_added(self, *, slot: int, generation: int, address: Address, pid: int) -> None:
        """Use a backend that the other process has started."""
        core, entries = self._pool.core, self._pool.entries
        h2c = self._pool.table.h2c
        entries.tell(
            lambda: core.add(
                slot=slot, generation=generation, address=address, h2c=h2c, pid=pid, now=trio.current_time()
            )
        )
        entries.admit(core.backends[-1])

    def follow_gone(self, pid: int) -> None:
        """Forget a backend that the other process started and that has ended."""
        for backend in tuple(self._pool.core.backends):
            if backend.pid == pid and all(member.backend is not backend for member in self._pool.members):
                self._note_gone(backend)

    async def follow_release(self, pid: int, *, timeout: float) -> bool:
        """Finish with a backend that the other process wants to end.

        Args:
            pid: the backend.
            timeout: seconds for what is in flight; what is left then is cut.

        Returns:
            Whether it was one of this pool.
        """
        pool = self._pool
        backend = next((backend for backend in pool.core.backends if backend.pid == pid), None)
        if backend is None:
            return False
        if backend.state is BackendState.READY:
            pool.entries.move(backend, BackendState.DRAINING)
        member = next((member for member in pool.members if member.backend is backend), None)
        if member is not None:
            member.stop_probes()
        await pool.surroundings.plane.release(backend, deadline=trio.current_time() + timeout)
        if member is not None:
            await member.wait_probed()
        self._expect_empty_slots()
        return True

    def _note_gone(self, backend: Backend) -> None:
        self._pool.surroundings.plane.close_idle(backend)
        self._pool.entries.bury(backend)
        self._expect_empty_slots()

    def _expect_empty_slots(self) -> None:
        if self.active:
            core = self._pool.core
            coming = (BackendState.READY, BackendState.STARTING)
            used = {backend.slot for backend in core.backends if backend.state in coming}
            for number in set(range(core.size)) - used:
                self._pool.entries.tell(partial(core.announce, number))
