"""Connections to an admin API, for who asks it something over HTTP: TCP, or a Unix socket."""

from __future__ import annotations

import http.client
import socket

from hotswap.core.address import Address, TcpAddress, UnixAddress


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Open the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def connection_to(address: Address, timeout: float) -> http.client.HTTPConnection:
    """Give a connection, which is opened by its first request.

    Args:
        address: where the API answers.
        timeout: seconds that each step may take.
    """
    match address:
        case UnixAddress(path=path):
            return UnixConnection(path, timeout)
        case TcpAddress(host=host, port=port):
            return http.client.HTTPConnection(host, port, timeout=timeout)
