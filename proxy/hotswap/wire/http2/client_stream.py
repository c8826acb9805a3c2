"""State of a stream in a session with a backend, while it is open in at least one direction."""

from __future__ import annotations

from typing import Final

from hotswap.wire.http2 import frames

STREAM_WINDOW: Final = 16 * 1024
"""What a backend may send of a response that its client has taken nothing of: so much waits for each stream."""


class ClientStream:
    """Windows and progress of one stream to a backend.

    `outbound_flow_control_window` is named as h2 names it, which adjusts it when the backend's settings change.
    """

    __slots__ = (
        "bodiless",
        "inbound",
        "interims",
        "left",
        "local_ended",
        "max_outbound_frame_size",
        "outbound_flow_control_window",
        "owed",
        "pieces",
        "place",
        "remote_ended",
        "responded",
        "window",
    )

    def __init__(self, window: int, *, bodiless: bool) -> None:
        self.outbound_flow_control_window = window
        self.max_outbound_frame_size = frames.MAX_FRAME
        self.inbound = STREAM_WINDOW
        self.window = STREAM_WINDOW
        self.owed = 0  # bytes that went on and were not told yet
        self.bodiless = bodiless  # asked for with HEAD
        self.responded = False
        self.interims = 0
        self.left: int | None = None  # of a body of known length
        self.pieces: list[bytes] = []  # of the body, of this read
        self.place = 0  # of their item
        self.local_ended = False
        self.remote_ended = False
