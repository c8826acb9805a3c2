"""Flood budget of an HTTP/2 connection: one count of points for frames that do no useful work.

Each frame that carries nothing takes from it, dearer ones more; time and useful traffic give back. A client that runs
out is told ENHANCE_YOUR_CALM and cut off (RFC 9113 10.5; HAProxy calls them glitches; D8, D9, D12). A single budget
cannot be gone around by mixing kinds.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

POINTS: Final = 2000
"""What a connection begins with, and the most it can have."""
POINTS_A_SECOND: Final = 200


class Cost(IntEnum):
    """Points that a frame costs; negative ones are credited."""

    CANCEL = 1
    """A request that the client gives up in the middle, as a map does with the tiles that have left the screen."""
    IDLE_FRAME = 2
    """PRIORITY, an unknown frame, WINDOW_UPDATE, a frame for a stream that has ended, a tiny piece of a head."""
    ANSWERED_FRAME = 8
    """SETTINGS or PING: they make us write. See `SETTINGS_BYTES_A_POINT` for large ones."""
    EMPTY_FRAME = 20
    """DATA or CONTINUATION with nothing in it: there is no reason to send one."""
    REFUSED = 10
    """A stream beyond those allowed."""
    RESET = 20
    """A request made in vain: reset by the client together with its head, or made by it to be reset by us."""
    EXCHANGE = -10
    """A response was completed."""
    DATA_SENT = -6
    """A DATA frame went to the client, who may answer with two WINDOW_UPDATEs."""


CRUMB: Final = 0.01
"""Points for a piece of a body that is smaller than the header of its frame: 20,000 a second are nobody's messages."""
SETTINGS_BYTES_A_POINT: Final = 24
"""So many bytes of SETTINGS, four of them, take a point more: each is work, and few mean anything."""


class Budget:
    """Points of one connection; `exhausted` never becomes false again."""

    __slots__ = ("_points", "_since", "exhausted")

    def __init__(self, now: float) -> None:
        self._points = float(POINTS)
        self._since = now
        self.exhausted = False

    def take(self, cost: float) -> bool:
        """Debit points, or credit them when negative; tells whether that was too many."""
        points = self._points - cost
        if points > POINTS:
            points = POINTS
        self._points = points
        if points < 0:
            self.exhausted = True
        return self.exhausted

    def pass_time(self, now: float) -> None:
        """Credit points for the time that has passed; called before the frames read at that time are processed."""
        if now > self._since:
            self._points = min(POINTS, self._points + (now - self._since) * POINTS_A_SECOND)
            self._since = now
