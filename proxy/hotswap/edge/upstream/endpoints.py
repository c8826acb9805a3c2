"""Endpoints of one backend, with the outcome of connecting to them, and sockets for them."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from hotswap.core.address import TcpAddress
from hotswap.core.errors import ConnectFailed, NothingLeft
from hotswap.edge.loop import descriptors
from hotswap.edge.loop.endpoint import endpoint_of

if TYPE_CHECKING:
    from hotswap.core.address import Address
    from hotswap.edge.loop.endpoint import Endpoint
    from hotswap.edge.loop.names import Name, Names


class BackendEndpoints:
    """Endpoints of one backend: one, or as many as its name has; `address` is as it was configured."""

    __slots__ = ("_endpoints", "_name", "address")

    def __init__(self, names: Names, address: Address) -> None:
        self.address = address
        endpoint = endpoint_of(address)
        self._endpoints = () if endpoint is None else (endpoint,)
        self._name: Name | None = None
        if endpoint is None:
            assert isinstance(address, TcpAddress)  # no other has a name
            self._name = names.name(address.host, address.port)

    def known(self) -> tuple[Endpoint, ...]:
        """Endpoints to connect to, the best first; starts a lookup of a name when it is due.

        Raises:
            AddressUnknown: its name is being looked up for the first time.
            ConnectFailed: its name has no address.
        """
        return self._endpoints if self._name is None else self._name.take()

    def note_connected(self, endpoint: Endpoint) -> None:
        """Connecting to an endpoint succeeded."""
        if self._name is not None:
            self._name.prefer(endpoint)

    def note_unreachable(self) -> None:
        """Connecting failed for every endpoint."""
        if self._name is not None:
            self._name.doubt()

    def is_left(self, endpoint: Endpoint) -> bool:
        """Whether the backend's name no longer resolves to an endpoint."""
        return self._name is not None and endpoint not in self._name.endpoints

    def open_socket(self, family: int) -> socket.socket:
        """Create a socket for a connection to the backend.

        Raises:
            ConnectFailed: there is none of this family.
            NothingLeft: there is no descriptor for it.
        """
        try:
            sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        except OSError as error:
            kind = NothingLeft if error.errno in descriptors.OURS else ConnectFailed
            raise kind(f"no socket for {self.address}: {error.strerror}") from error
        if not descriptors.for_upstream(sock.fileno()):
            sock.close()
            raise NothingLeft(f"no socket for {self.address}: the last descriptors are kept for the operator")
        return sock
