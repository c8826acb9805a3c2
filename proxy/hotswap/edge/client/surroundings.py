"""What the connections of clients know of the listener by which they came."""

from __future__ import annotations

from typing import Protocol

from hotswap.edge.exchange.plane import Entrance


class PublicListener(Entrance, Protocol):
    """A listener, as its connections see it; see `hotswap.edge.client.listener.Listener`.

    Attributes:
        header_bytes: the longest head of a request.
        headers: the most fields of a head.
        header_timeout: seconds for a head, a handshake or a PROXY header.
        body_rate: bytes of a body in a second, below which it is too slow; 0 is any.
        requests: the most requests of one connection; 0 is any number.
        http2: whether HTTP/2 is spoken.
    """

    header_bytes: int
    headers: int
    header_timeout: float
    body_rate: int
    requests: int
    http2: bool
