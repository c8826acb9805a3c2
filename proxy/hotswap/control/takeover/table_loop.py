"""The event loop of a side of a takeover, the same for both: events come from one queue, and a table says what follows.

One task reads events, asks the table, and has done what it says, in order and without waiting in between; whatever
takes time is a task that puts its outcome into the queue. So there is one place where things happen, and the order
in which they happen is the order of the table.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Generic

import trio

from hotswap.control.takeover.channel import Received, is_dead
from hotswap.control.takeover.fault import fault
from hotswap.core.state_machine import CommandT, EventT, Machine, StateT

QUEUE = 1000
"""Events that may wait; one beyond them is dropped."""

POLL = 0.01


class TableLoop(Generic[StateT, EventT, CommandT]):
    """Events in, commands out, by the table of a machine."""

    def __init__(
        self,
        machine: Machine[StateT, EventT, CommandT],
        *,
        side: str,
        pidfd: Callable[[], int],
        patience: float,
        broken: EventT,
        overdue: EventT,
        why_overdue: Callable[[StateT], str],
        look: Callable[[EventT, str, Received | None], tuple[EventT, str]],
        moved: Callable[[EventT, str], None],
        do: Callable[[CommandT, str], None],
    ) -> None:
        """Make it; nothing happens before `run`.

        Args:
            machine: the side's own.
            side: its name, for faults that tests order.
            pidfd: gives that of the other process.
            patience: seconds in which its death is waited for when the channel broke.
            broken: the event for that, and for a frame that the present state has no row for.
            overdue: the event for a state that has lasted too long.
            why_overdue: gives the detail of that.
            look: takes what came with an event that has a row, and gives the event and the detail that it amounts to.
            moved: told of each change of state, with event and detail, before the commands.
            do: does a command, given the detail of its event too.
        """
        self.machine = machine
        self._side = side
        self._pidfd = pidfd
        self._patience = patience
        self._broken = broken
        self._overdue = overdue
        self._why_overdue = why_overdue
        self._look = look
        self._moved = moved
        self._do = do
        self._send, self._events = trio.open_memory_channel[tuple[EventT, str, Received | None]](QUEUE)

    def note(self, event: EventT, detail: str = "", received: Received | None = None) -> None:
        """Put an event into the queue, with more about it in words, and with the frame that says so if one does."""
        with suppress(trio.WouldBlock, trio.BrokenResourceError):
            self._send.send_nowait((event, detail, received))

    async def run(self) -> None:
        """Handle events until the machine is in one of its last states."""
        while not self.machine.ended:
            deadline = self.machine.deadline
            event, detail, received = self._overdue, self._why_overdue(self.machine.state), None
            with trio.CancelScope(deadline=float("inf") if deadline is None else deadline):
                event, detail, received = await self._events.receive()
            self.handle(event, detail, received)

    def handle(self, event: EventT, detail: str = "", received: Received | None = None) -> None:
        """Do what follows from an event, now."""
        machine, before = self.machine, self.machine.state
        if not machine.knows(event):
            if received is None:
                return
            received.descriptors.close()
            event, detail, received = self._broken, f"{event} cannot come in the state {before}", None
        if not machine.knows(event):
            return
        event, detail = self._look(event, detail, received)
        commands = machine.on(event, now=trio.current_time(), detail=detail)
        if machine.state is not before:
            self._moved(event, detail)
        fault(f"{self._side}:{machine.state}")
        for command in commands:
            self._do(command, detail)

    async def judge_break(self, detail: str) -> None:
        """Note that the channel broke, unless the other process dies: that says more, and the break follows from it."""
        with trio.move_on_after(self._patience):
            while not is_dead(self._pidfd()):
                await trio.sleep(POLL)
            return
        self.note(self._broken, detail)
