"""What addresses come to without anybody being asked."""

from __future__ import annotations

import socket

import pytest

from hotswap.core.address import TcpAddress, UnixAddress
from hotswap.edge.loop.endpoint import Endpoint, endpoint_of


@pytest.mark.parametrize(
    ("address", "endpoint"),
    [
        (TcpAddress("192.0.2.4", 80), Endpoint(socket.AF_INET, ("192.0.2.4", 80))),
        (TcpAddress("2001:db8::6", 80), Endpoint(socket.AF_INET6, ("2001:db8::6", 80, 0, 0))),
        (TcpAddress("fe80::1%1", 80), Endpoint(socket.AF_INET6, ("fe80::1", 80, 0, 1))),
        (TcpAddress("fe80::1%no-such", 80), Endpoint(socket.AF_INET6, ("fe80::1", 80, 0, 0))),
        (UnixAddress("/run/a"), Endpoint(socket.AF_UNIX, "/run/a")),
        (TcpAddress("backend.test", 80), None),
        (TcpAddress("1.2.3", 80), None),
    ],
    ids=str,
)
def test_an_address_that_needs_no_lookup_is_an_endpoint(address: TcpAddress, endpoint: Endpoint | None):
    """A name is none."""
    assert endpoint_of(address) == endpoint
