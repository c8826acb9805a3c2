"""Adapter of h2 for the state of a connection: settings, pings and the connection's window.

Frames of streams never reach it: what h2 does about a stream that breaks a rule is to end the connection.
"""

from __future__ import annotations

from typing import Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings

from hotswap.wire.http2 import frames
from hotswap.wire.http2.field_compression import FieldDecoder, FieldEncoder


class ConnectionBroken(ProtocolError):
    """A connection error (RFC 9113 5.4.1): the connection has to end."""

    def __init__(self, code: ErrorCodes, detail: str) -> None:
        super().__init__(detail)
        self.error_code = code


class Http2Machine(H2Connection):
    """h2's connection, fed with frames of the connection only.

    Args:
        client: whether we are the client.
        settings: what the peer is told.
        list_bytes: limit on a decoded field list.
        streams: those of the session, whose `outbound_flow_control_window` is adjusted when the peer's settings change.
    """

    def __init__(
        self, *, client: bool, settings: dict[SettingCodes, int], list_bytes: int, streams: dict[int, Any]
    ) -> None:
        super().__init__(H2Configuration(client_side=client, header_encoding=None))
        self.local_settings = Settings(client=client, initial_values=settings)
        self.field_encoder = FieldEncoder()
        self.field_decoder = FieldDecoder(list_bytes)
        self.encoder = self.field_encoder  # type: ignore[assignment]  # h2 sets its table size and nothing else
        self.decoder = self.field_decoder
        self.streams = streams
        self.initiate_connection()

    def greet(self, window: int) -> list[bytes]:
        """Send our settings, and set the size of the connection's window."""
        return [self.data_to_send(), frames.write_window_update(0, window - frames.FIRST_WINDOW)]

    def open_window(self, increment: int) -> None:
        """Open our window for the whole connection by so many bytes.

        Raises:
            ConnectionBroken: it may not say so.
        """
        window = self.outbound_flow_control_window + increment
        if not increment:
            raise ConnectionBroken(ErrorCodes.PROTOCOL_ERROR, "a window opens by nothing")
        if window > frames.MAX_WINDOW:
            raise ConnectionBroken(ErrorCodes.FLOW_CONTROL_ERROR, "the connection's window is too large")
        self.outbound_flow_control_window = window

    def close(self) -> None:
        """Free the state: h2 has a table of its own methods, a cycle that would wait for the garbage collector."""
        self._frame_dispatch_table.clear()
