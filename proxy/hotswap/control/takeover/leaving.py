"""The last part of the life of a process that was replaced: its clients finish, and its counts go to the new one."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import trio

from hotswap.control.process.parts import Parts
from hotswap.control.takeover.channel import seal
from hotswap.control.takeover.handover_state import since, write_tally
from hotswap.wire.handover import FrameType, HandoverBroken

REPORT_INTERVAL: Final = 1.0
"""Seconds between two reports of the drain."""

POLL: Final = 0.05

Tell = Callable[[FrameType, Mapping[str, Any], Sequence[int]], object]


class Leaving:
    """The drain of the old process.

    Attributes:
        hurry: set when clients are to be let go soon: within the time for a graceful stop.
    """

    def __init__(self, parts: Parts, tell: Tell) -> None:
        """Make it, with what sends a frame to the process that took over; nothing happens before `drain`."""
        self.hurry = trio.Event()
        self._parts = parts
        self._tell = tell
        self._counted: dict[str, Any] = {}

    def note_commit(self) -> None:
        """Everything that was counted until now has been handed over."""
        self._counted = write_tally(self._parts.tally)

    async def drain(self, *, timeout: float, released: Callable[[], bool]) -> None:
        """Block until no client of ours is left, no backend that stayed ours, and nobody of a process before us.

        Args:
            timeout: seconds for them; nobody is cut by this.
            released: tells whether the new process has everything for good; before that nothing is reported, and
                this does not end.

        **Cancellation**: clients go on.
        """
        parts = self._parts
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._report, released)
            nursery.start_soon(self._cut_in_time)
            await parts.plane.wait_left(timeout=timeout, hurry=self.hurry)
            while (
                parts.plane.connection_count()
                or not released()
                or parts.pools.own_backends()
                or (parts.predecessor.present and not self.hurry.is_set())
            ):
                await trio.sleep(POLL)
            nursery.cancel_scope.cancel()

    def say_bye(self) -> None:
        """Hand over the last counts."""
        self._parts.plane.flush_log()
        with suppress(HandoverBroken):
            self._send_counts(FrameType.BYE, {})

    async def _report(self, released: Callable[[], bool]) -> None:
        parts = self._parts
        while True:
            await trio.sleep(REPORT_INTERVAL)
            if released():
                body = {"connections": parts.plane.connection_count(), "depth": 1 + parts.predecessor.depth}
                with suppress(HandoverBroken):
                    self._send_counts(FrameType.DRAINING, body)

    async def _cut_in_time(self) -> None:
        await self.hurry.wait()
        await trio.sleep(self._parts.config.proxy.shutdown_timeout)
        self._parts.plane.cut_clients()

    def _send_counts(self, kind: FrameType, body: Mapping[str, Any]) -> None:
        counted = write_tally(self._parts.tally)
        grown = seal(since(self._counted, counted))
        try:
            self._tell(kind, body, (grown,))
        finally:
            os.close(grown)
        self._counted = counted
