"""What a pool does while its backends belong to another proxy process: it uses them, and leaves the processes alone.

It begins when this process is replaced, and lasts until its last client is gone, or until the other process dies
and everything returns. What the other process starts and ends is followed, so that clients here are served to the
last.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial

import trio

from hotswap.control.pools.members import Members
from hotswap.control.pools.supervised_backend import SupervisedBackend
from hotswap.core.address import Address
from hotswap.core.http.sendfile import SendfileRoots
from hotswap.core.pool.backend import Backend
from hotswap.core.pool.lifecycle import BackendState
from hotswap.processes.exit_status import Exit


class PoolHandover:
    """Follows the proxy process that owns the backends of a pool now, and takes them back when it is gone.

    Attributes:
        active: the backends belong to another process.
        on_exit: called with process id and end of a backend whose parent this process is.
    """

    def __init__(self, members: Members, *, freeze: Callable[[], None], thaw: Callable[[], None]) -> None:
        """Begin with backends that are this process's own; `freeze` has nothing started any more until `thaw`."""
        self.active = False
        self.on_exit: Callable[[int, Exit], None] | None = None
        self._members = members
        self._entries = members.entries
        self._core = members.entries.core
        self._plane = members.surroundings.plane
        self._links = members.surroundings.links
        self._freeze = freeze
        self._thaw = thaw

    def begin(self, going: Collection[SupervisedBackend]) -> None:
        """Leave the processes of these backends to another proxy process from now on, and go on using them.

        Every other one stays ours until it is gone: what is on its way out goes on, what is still starting is ended.
        Requests for a slot without a backend are held, because the other process fills it.
        """
        self._freeze()
        self._members.let_go_starting()
        for member in self._members.serving():
            if member in going:
                member.hand_over()
            else:
                self._members.part_with(member)
        self.active = True
        self._expect_empty_slots()

    def take_back(self) -> None:
        """Look after the backends again, because the other process is gone."""
        self.active = False
        for member in self._members:
            if member.handed_over:
                member.take_back()
        for backend in tuple(self._core.backends):
            # What the other process started died with it.
            if self._member_of(backend) is None:
                self._note_gone(backend)
        self._thaw()

    def note_exit(self, member: SupervisedBackend, ended: Exit) -> None:
        """Forget a backend that has ended, and tell its owner, who does what is to be done."""
        self._note_gone(member.backend)
        if self.on_exit is not None:
            self.on_exit(member.process.pid, ended)

    def follow_added(
        self,
        *,
        slot: int,
        generation: int,
        address: Address,
        pid: int,
        h2c: bool,
        directory: str,
        sendfile: SendfileRoots,
    ) -> None:
        """Use a backend that the other process has started."""
        self._entries.admit(
            self._entries.add(
                slot=slot,
                generation=generation,
                address=address,
                h2c=h2c,
                pid=pid,
                directory=directory,
                sendfile=sendfile,
            ),
        )

    def follow_gone(self, pid: int) -> None:
        """Forget a backend that the other process started and that has ended."""
        for backend in tuple(self._core.backends):
            if backend.pid == pid and self._member_of(backend) is None:
                self._note_gone(backend)

    async def follow_release(self, pid: int, *, deadline: float) -> bool:
        """Finish with a backend that the other process wants to end, and so does the process before this one.

        Args:
            pid: the backend; nothing happens when it is none of this pool.
            deadline: when what is in flight is cut, on trio's clock.

        Returns:
            Whether the backend is one of this pool.
        """
        backend = next((backend for backend in self._core.backends if backend.pid == pid), None)
        if backend is None:
            return False
        if backend.state is BackendState.READY:
            self._entries.move(backend, BackendState.DRAINING)
        member = self._member_of(backend)
        if member is not None:
            member.stop_probes()
        async with trio.open_nursery() as nursery:
            for link in self._links:
                nursery.start_soon(partial(link.release, backend, deadline=deadline))
        if member is not None:
            await member.wait_probed()
        self._expect_empty_slots()
        return True

    def _member_of(self, backend: Backend) -> SupervisedBackend | None:
        return next((member for member in self._members if member.backend is backend), None)

    def _note_gone(self, backend: Backend) -> None:
        self._plane.close_idle(backend)
        self._entries.bury(backend)
        self._expect_empty_slots()

    def _expect_empty_slots(self) -> None:
        if self.active:
            core = self._core
            coming = (BackendState.READY, BackendState.STARTING)
            used = {backend.slot for backend in core.backends if backend.state in coming}
            for number in set(range(core.size)) - used:
                self._entries.tell(partial(core.announce, number))
