"""URLs of listeners."""

from __future__ import annotations

import pytest

from hotswap.core.address import TcpAddress, UnixAddress
from hotswap.core.http.origins import origins_of


@pytest.mark.parametrize(
    ("addresses", "tls", "names", "urls"),
    [
        ([TcpAddress("127.0.0.1", 8080)], False, [], ["http://127.0.0.1:8080/"]),
        ([TcpAddress("::1", 8443)], True, [], ["https://[::1]:8443/"]),
        ([TcpAddress("0.0.0.0", 443), TcpAddress("::", 443)], True, ["*.a.org", "b.org"], ["https://b.org/"]),
        ([TcpAddress("0.0.0.0", 8080)], False, [], ["http://localhost:8080/"]),
        ([TcpAddress("192.0.2.1", 80)], False, [], ["http://192.0.2.1/"]),
        ([UnixAddress("/run/shop.sock")], False, [], []),
    ],
)
def test_each_tcp_address_has_a_url_that_works(addresses, tls, names, urls):
    """Of an address that stands for all of the machine, the certificate knows the name; usual ports are left out."""
    assert origins_of(addresses, tls=tls, names=names) == urls
