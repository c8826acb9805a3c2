"""Interfaces through which client connections see the data plane and their listener."""

from __future__ import annotations

from typing import Any, Protocol

from hotswap.edge.exchange.entrance import Entrance
from hotswap.edge.exchange.plane import ExchangePlane
from hotswap.edge.exchange.tunnel import TunnelPlane


class Log(Protocol):
    """Log of the data plane."""

    def debug(self, event: str, **fields: Any) -> Any:  # structlog's own signature
        """Log what helps a developer."""

    def warning(self, event: str, **fields: Any) -> Any:
        """Log what an operator should see."""

    def error(self, event: str, **fields: Any) -> Any:
        """Log a defect."""


class ClientPlane(ExchangePlane, TunnelPlane, Protocol):
    """The data plane, as client connections see it; see `hotswap.edge.dataplane.DataPlane`.

    Attributes:
        log: where refusals, failed handshakes and pauses are told.
    """

    log: Log


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
