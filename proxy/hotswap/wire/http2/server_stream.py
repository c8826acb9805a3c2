"""State of a stream in a session with a client, while it is open in at least one direction."""

from __future__ import annotations

from h2.windows import WindowManager

from hotswap.wire.http2 import frames


class ServerStream:
    """Windows and progress of one stream of a client.

    `outbound_flow_control_window` is named as h2 names it, which adjusts it when the client's settings change.
    """

    __slots__ = (
        "grown",
        "inbound",
        "last",
        "left",
        "local_ended",
        "max_outbound_frame_size",
        "outbound_flow_control_window",
        "reading",
        "remote_ended",
        "stream_id",
    )

    def __init__(self, stream_id: int, window: int) -> None:
        self.stream_id = stream_id
        self.outbound_flow_control_window = window
        self.max_outbound_frame_size = frames.MAX_FRAME
        self.inbound: WindowManager | None = None  # made with the first DATA
        self.grown = False
        self.left: int | None = None  # of a body of known length
        self.last: bytes | None = None  # its last piece, when the end of the stream did not come with it
        self.reading = 0  # the number of the one that brought its head
        self.remote_ended = False
        self.local_ended = False
