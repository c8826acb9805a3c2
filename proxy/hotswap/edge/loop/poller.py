"""Edge-triggered epoll in one trio task, with callbacks for ready sockets and passed deadlines.

A task switch for every event would cost more than the event's work, so ready sockets are served by plain functions:
`on_ready` reads until it would block, decides, writes, and returns. Trio owns the loop around it: one task waits until
the epoll is readable, serves what is ready for at most `TURN` seconds, and gives way to the other tasks (rollouts,
probes, the admin API), which therefore keep their deadlines at full load.

Edge-triggered means that an event is told once. A handler that stops early (backpressure, fairness) remembers that its
socket is readable and asks to be called `soon`.
"""

from __future__ import annotations

import math
import select
import time
from collections.abc import Callable
from typing import Final, Protocol

import trio

from hotswap.edge.loop.containment import Contained
from hotswap.edge.loop.timers import TICK, Timers

READ: Final = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET
"""Interest of a socket that nothing waits to be written to."""
READ_WRITE: Final = READ | select.EPOLLOUT
"""Interest of a socket whose buffer was full."""
ACCEPT: Final = select.EPOLLIN
"""Interest of a listening socket: level-triggered, so that accepting may pause."""
GONE: Final = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
"""Events that say the other side has closed its half, or all."""
DEAD: Final = select.EPOLLHUP | select.EPOLLERR
"""Of these, those that say that nothing passes any more, either way: a reset, or both halves closed."""

TURN: Final = 0.002
"""Seconds of events served before other tasks get their turn."""
SLICE: Final = 0.0005
"""Seconds of what was asked for `soon` before it is looked who else is ready: one busy client asks again and again."""
EVENTS: Final = 16
"""Events asked for at once: what is served between two looks at the clock."""
DEADLINES: Final = 0.001
"""Seconds of deadlines served before others get their turn: those of thousands may have passed together."""
LINGER: Final = 0.001
"""Seconds that are waited for the next event after one was served, before trio is asked to wait: the answer to what was
sent is often on its way, and to go to sleep and be woken by trio costs more than to serve it."""


class Handler(Contained, Protocol):
    """Callbacks of one socket."""

    def on_ready(self, events: int) -> None:
        """The socket is ready; never blocks."""


def _raise(error: Exception, _where: str) -> None:
    """Default for defects that no handler contains: raise them."""
    raise error


class Poller:
    """Dispatches readiness, deadlines and deferred callbacks in turns.

    Args:
        clock: seconds, of any beginning.
        linger: see `LINGER`; 0 where the other side of a connection is a task of the same loop.

    Attributes:
        behind: some of those who asked to be called `soon` have not had their turn when the time was over.
        now: the time of the clock when the events came that are being served.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, linger: float = LINGER) -> None:
        self._linger = linger
        self._epoll = select.epoll()
        self._handlers: dict[int, Handler] = {}
        self._forgotten: set[int] = set()
        self._soon: dict[Callable[[], None], Contained] = {}
        self._clock = clock
        self._serving = False
        self._nudge: trio.lowlevel.Task | None = None
        self.timers = Timers()
        self.behind = False
        self._until = math.inf
        self.turn_ends: list[Callable[[], None]] = []
        self.on_defect: Callable[[Exception, str], None] = _raise
        self.now = clock()

    def watch(self, fd: int, handler: Handler, events: int) -> None:
        """Register a handler for a descriptor, until `forget`."""
        self._handlers[fd] = handler
        self._epoll.register(fd, events)

    def rewatch(self, fd: int, handler: Handler, events: int) -> None:
        """Change handler or interest; an edge-triggered interest is told again of a state that holds now."""
        self._handlers[fd] = handler
        self._epoll.modify(fd, events)

    def hand_over(self, fd: int, handler: Handler) -> None:
        """Change the handler of a descriptor, its interest unchanged."""
        self._handlers[fd] = handler

    def forget(self, fd: int) -> None:
        """Unregister a descriptor, before it is closed."""
        if self._handlers.pop(fd, None) is not None:
            self._epoll.unregister(fd)
            # Its number may be used again while events of the old socket are still to be served.
            self._forgotten.add(fd)

    def soon(self, handler: Contained, callback: Callable[[], None]) -> None:
        """Call back in this turn or one of the next, after the events that are ready now.

        Once, however often it is asked for: who is always busy would otherwise be called more and more often.
        """
        self._soon[callback] = handler
        if self._nudge is not None and not self._serving:
            trio.lowlevel.reschedule(self._nudge)
            self._nudge = None

    def overdue(self) -> bool:
        """Whether the time slice is used up that callbacks of `soon` share."""
        return self._clock() > self._until

    async def serve(self) -> None:
        """Dispatch events and deadlines until cancelled; registrations stay."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._serve_deadlines)
            nursery.start_soon(self._serve_soon)
            epoll = self._epoll
            while True:
                await trio.lowlevel.wait_readable(epoll.fileno())
                timeout = 0.0
                while self._turn(timeout):
                    timeout = self._linger
                    await trio.lowlevel.cancel_shielded_checkpoint()
                    await trio.lowlevel.checkpoint_if_cancelled()

    def close(self) -> None:
        """Close the epoll; sockets stay with their owners."""
        self._epoll.close()

    def _turn(self, timeout: float = 0.0) -> bool:
        """Dispatch what is ready, and what becomes ready meanwhile, for about `TURN` seconds.

        Waits `timeout` seconds for the first event, and tells whether the time was over before the events were.
        """
        clock = self._clock
        self.now = now = clock()
        until = now + TURN
        handlers = self._handlers
        forgotten = self._forgotten
        poll = self._epoll.poll
        more = self._serving = True
        while True:
            events = poll(timeout, EVENTS)
            self.now = now = clock()  # what came is dated by when it came
            if events:
                timeout = self._linger
                forgotten.clear()
                for fd, mask in events:
                    if forgotten and fd in forgotten:
                        continue
                    handler = handlers.get(fd)
                    if handler is not None:
                        try:
                            handler.on_ready(mask)
                        except Exception as error:  # contained: one connection, never the loop
                            self._contain(handler, error)
            elif not self._soon:
                more = False
                break
            if self._soon:
                self._run_soon(now + SLICE)
                timeout = 0.0 if self._soon else self._linger
            if clock() > until:
                break
        self._serving = False
        self._end_turn()
        return more

    def _contain(self, handler: Contained, error: Exception) -> None:
        """Have a handler deal with its own exception; if that raises too, only log it."""
        try:
            handler.on_crash(error)
        except Exception as again:  # the loop goes on whatever happens
            self.on_defect(again, "crash")

    def _end_turn(self) -> None:
        for end in self.turn_ends:
            try:
                end()
            except Exception as error:  # what is gathered may be lost, the loop goes on
                self.on_defect(error, "turn")

    def _run_soon(self, until: float) -> None:
        """Run deferred callbacks, at least one; what exceeds the time slice is first in the next turn.

        A hundred may have asked, and what has become ready meanwhile is not to wait for all of them.
        """
        clock = self._clock
        soon, self._soon = self._soon, {}
        asked = iter(soon.items())
        self.behind = False
        self._until = until
        for callback, handler in asked:
            try:
                callback()
            except Exception as error:  # contained: one connection, never the loop
                self._contain(handler, error)
            if clock() > until:
                left = dict(asked)
                if left:
                    self.behind = True
                    self._soon = left | self._soon
                break

    async def _serve_soon(self) -> None:
        """Run callbacks that were deferred outside of a turn, from a plain trio task."""
        while True:
            if not self._soon:
                self._nudge = trio.lowlevel.current_task()

                def abort(_raise: object) -> trio.lowlevel.Abort:
                    self._nudge = None
                    return trio.lowlevel.Abort.SUCCEEDED

                await trio.lowlevel.wait_task_rescheduled(abort)
            self.now = now = self._clock()
            self._run_soon(now + SLICE)
            self._end_turn()
            await trio.lowlevel.checkpoint()

    async def _serve_deadlines(self) -> None:
        while True:
            await trio.sleep(TICK)
            while self.run_deadlines():
                await trio.lowlevel.checkpoint()

    def run_deadlines(self) -> bool:
        """Dispatch passed deadlines, for about `DEADLINES` seconds; tells whether the time was over before they were.

        For tests also without waiting for the next tick.
        """
        clock = self._clock
        due = self.timers.due
        self.now = now = clock()
        until = now + DEADLINES
        more = True
        while now <= until:
            timed = due(now)
            if timed is None:
                more = False
                break
            try:
                timed.on_deadline()
            except Exception as error:  # contained: one connection, never the loop
                self._contain(timed, error)
            self.now = now = clock()
        self._end_turn()
        return more
