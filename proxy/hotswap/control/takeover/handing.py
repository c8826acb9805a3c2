"""Handing over piece by piece: each frame with descriptors is sent when the one before it was acknowledged.

So two sets of descriptors are never in flight: the kernel counts those against a limit, and what is in flight when
the receiver dies would be closed there. The sender keeps its own copies throughout.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hotswap.control.takeover.handover_frames import HandoverFrame
from hotswap.wire.handover import FrameType, HandoverBroken

Send = Callable[[FrameType, Mapping[str, Any], Sequence[int]], int]
"""Sends a frame and gives its number."""


class Handing:
    """The frames that are still to be handed over."""

    def __init__(self, send: Send, done: Callable[[], None]) -> None:
        """Make it; `done` is called when everything was acknowledged, at once when there was nothing."""
        self._send = send
        self._done = done
        self._queue: deque[Callable[[], HandoverFrame]] = deque()
        self._awaited: int | None = None

    def hand(self, frames: Sequence[Callable[[], HandoverFrame]]) -> None:
        """Hand these over behind what is still to be handed over.

        Raises:
            HandoverBroken: the other side does not take it.
        """
        self._queue.extend(frames)
        if self._awaited is None:
            self._next()

    def hear_ack(self, seq: int) -> None:
        """A frame was acknowledged.

        Raises:
            HandoverBroken: it is not the one that was sent last, or the other side does not take the next.
        """
        if seq != self._awaited:
            raise HandoverBroken(f"frame {seq} was acknowledged instead of {self._awaited}")
        self._awaited = None
        self._next()

    def _next(self) -> None:
        if not self._queue:
            self._done()
            return
        # Written only now: a backend may have ended while others were acknowledged.
        kind, body, descriptors = self._queue.popleft()()
        try:
            self._awaited = self._send(kind, body, descriptors)
        finally:
            if kind is FrameType.STATE:
                os.close(descriptors[0])
