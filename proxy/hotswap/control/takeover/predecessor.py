"""The proxy process before this one, for as long as it still serves its own clients.

It uses the same backends, so whoever ends one here has to let it finish with it first, and whoever starts one
has to tell it. It is also the parent of the backends it started, so it alone learns how they ended. Without a
predecessor, which is the ordinary case, nothing of this does anything.

It may have a predecessor itself; it passes on what it is told, and answers when both are done.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import trio
from structlog.typing import FilteringBoundLogger

from hotswap.control.takeover.channel import Channel
from hotswap.core.pool.backend import Backend
from hotswap.core.pool.pause_answer import PauseAnswer
from hotswap.core.pool.withdrawal import Released
from hotswap.core.takeover.versions import ORDERS
from hotswap.processes.exit_status import Exit
from hotswap.wire.handover import Frame, FrameType, HandoverBroken

EXIT_PATIENCE = 1.0
"""Seconds to wait for the word of the parent on how a backend ended."""

GRACE = 2.0
"""Seconds beyond the time that it was given for an exchange, until its answer is not waited for any longer."""


class Order(StrEnum):
    """What an operator orders that concerns every process that serves clients."""

    PAUSE = "pause"
    RESUME = "resume"
    REOPEN = "reopen"
    """The log files."""
    LEAVE = "leave"
    """A pool goes, and idle connections with it: what came over them would find no backend there."""


class Predecessor:
    """What is said to it and heard from it; for pools it is an `EarlierOwner`, which says what they use of it.

    Attributes:
        depth: how many processes before this one still serve.
        connections: client connections that they have.
    """

    def __init__(self, log: FilteringBoundLogger) -> None:
        self.depth = 0
        self.connections = 0
        self._log = log
        self._channel: Channel | None = None
        self._protocol = 0
        self._gone = trio.Event()
        self._released: dict[int, trio.Event] = {}
        self._exits: dict[int, Exit] = {}
        self._exit_waiters: dict[int, trio.Event] = {}

    @property
    def present(self) -> bool:
        """It still serves."""
        return self._channel is not None

    def begin(self, channel: Channel, *, protocol: int) -> None:
        """It has handed over and drains; the channel stays its owner's."""
        self._channel = channel
        self._protocol = protocol
        self._gone = trio.Event()
        self.depth = 1

    def end(self) -> None:
        """It is gone: nobody is waited for any longer."""
        self._channel = None
        self._gone.set()
        self.depth = self.connections = 0
        for waiting in (*self._released.values(), *self._exit_waiters.values()):
            waiting.set()

    def note_added(self, backend: Backend) -> None:
        self._send(
            FrameType.BACKEND_ADDED,
            pool=backend.pool,
            slot=backend.slot,
            generation=backend.generation,
            address=str(backend.address),
            pid=backend.pid,
            directory=backend.directory,
        )

    def note_gone(self, pid: int | None) -> None:
        if pid is not None:
            self._send(FrameType.BACKEND_GONE, pid=pid)

    def pass_on(self, frame: Frame) -> None:
        """Tell it what was told to us."""
        self._send(frame.type, **frame.body)

    def hurry(self) -> None:
        """Ask it to let its clients go."""
        self._send(FrameType.HURRY)

    def terminate(self, *, everybody: bool = False) -> None:
        """Ask the oldest process that still serves to end now, or all of them."""
        self._send(FrameType.TERMINATE, all=everybody)

    def order(self, order: Order, *, pool: str = "", answer: PauseAnswer | None = None) -> None:
        """Have it do what an operator orders of everybody who serves; one of older code holds what is to be answered.

        Args:
            order: what.
            pool: of which pool, where it is about one.
            answer: of a pause.
        """
        if self._protocol >= ORDERS:
            more = {} if answer is None else {"answer": answer.write()}
            self._send(FrameType.ORDER, order=order.value, pool=pool, **more)

    def close_idle_clients(self) -> None:
        self.order(Order.LEAVE)

    def say_stopping(self) -> None:
        """Tell it that this process was told to stop, so that it takes nothing back and stops too."""
        if self._protocol >= ORDERS:
            self._send(FrameType.STOPPING)

    async def wait_gone(self, *, timeout: float) -> None:
        """Block until it serves nobody any more, for so many seconds at most."""
        with trio.move_on_after(timeout):
            while self._channel is not None:
                await self._gone.wait()

    async def release(self, backend: Backend, *, deadline: float, leave_within: float = 0.0) -> Released:
        # It reports itself what it cuts, and tunnels it cuts with the rest.
        if backend.pid is not None:
            await self.release_process(backend.pid, deadline=deadline)
        return Released()

    async def release_process(self, pid: int, *, deadline: float) -> None:
        """Do as `release` for the backend of a process that no pool of ours need know; at once without a predecessor.

        **Cancellation**: it lets go all the same.
        """
        if self._channel is None:
            return
        timeout = max(0.0, deadline - trio.current_time())
        released = self._released[pid] = trio.Event()
        self._send(FrameType.RELEASE_BACKEND, pid=pid, timeout=timeout)
        with trio.move_on_at(deadline + GRACE):
            await released.wait()
            return
        self._log.warning("takeover.backend_not_released", pid=pid, detail="the process before this one still uses it")

    async def exit_of(self, pid: int) -> Exit | None:
        if pid not in self._exits and self._channel is not None:
            heard = self._exit_waiters[pid] = trio.Event()
            with trio.move_on_after(EXIT_PATIENCE):
                await heard.wait()
            del self._exit_waiters[pid]
        return self._exits.pop(pid, None)

    # What it says.

    def hear_released(self, pid: int) -> None:
        """It has let go of a backend."""
        released = self._released.pop(pid, None)
        if released is not None:
            released.set()

    def hear_exit(self, pid: int, ended: Exit) -> None:
        """It has reaped a backend."""
        self._exits[pid] = ended
        waiting = self._exit_waiters.get(pid)
        if waiting is not None:
            waiting.set()
        elif len(self._exits) > 100:
            del self._exits[next(iter(self._exits))]

    def hear_draining(self, body: Mapping[str, object]) -> None:
        """It told how far its drain is."""
        depth, connections = body.get("depth"), body.get("connections")
        self.depth = depth if isinstance(depth, int) else 1
        self.connections = connections if isinstance(connections, int) else 0

    def _send(self, kind: FrameType, **body: object) -> None:
        if self._channel is not None:
            try:
                self._channel.send(kind, body)
            except HandoverBroken as error:
                # Its end is noticed by its pidfd; one that is stuck must not stop anything here.
                self._log.warning("takeover.not_told", frame=kind.value, detail=str(error))
                if kind is FrameType.RELEASE_BACKEND:
                    for waiting in self._released.values():
                        waiting.set()
