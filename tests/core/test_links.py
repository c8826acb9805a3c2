"""Addresses become links that can be clicked, and work."""

from __future__ import annotations

import pytest

from hotswap.core.address import Address, TcpAddress, UnixAddress
from hotswap.core.links import links_to


@pytest.mark.parametrize(
    ("address", "tls", "name", "link"),
    [
        (TcpAddress("127.0.0.1", 8080), False, "", "http://127.0.0.1:8080/"),
        (TcpAddress("127.0.0.1", 8443), True, "localhost", "https://localhost:8443/"),
        (TcpAddress("192.0.2.1", 8443), True, "localhost", "https://192.0.2.1:8443/"),
        (TcpAddress("0.0.0.0", 8080), False, "", "http://localhost:8080/"),
        (TcpAddress("::", 8443), True, "shop.test", "https://shop.test:8443/"),
        (TcpAddress("::1", 80), False, "", "http://[::1]/"),
        (TcpAddress("127.0.0.1", 443), True, "", "https://127.0.0.1/"),
        (UnixAddress("/run/x.sock"), False, "", "unix:/run/x.sock"),
    ],
)
def test_a_link_goes_where_a_browser_of_this_machine_gets_an_answer(
    address: Address, tls: bool, name: str, link: str
) -> None:
    """With the name of the certificate, so that it is trusted, and without the usual port."""
    assert links_to([address], tls=tls, name=name) == [link]


@pytest.mark.parametrize(
    ("address", "link"),
    [
        (TcpAddress("127.0.0.1", 8443), "https://127.0.0.1:8443/"),
        (TcpAddress("::1", 8443), "https://[::1]:8443/"),
        (TcpAddress("0.0.0.0", 443), "https://shop.test/"),
    ],
)
def test_an_address_of_this_machine_alone_may_stay_as_it_is(address: Address, link: str) -> None:
    """Where others than a browser of this machine read it too."""
    assert links_to([address], tls=True, name="shop.test", loopback=False) == [link]


def test_two_addresses_with_the_same_link_are_one() -> None:
    """Both families of all interfaces."""
    assert links_to([TcpAddress("0.0.0.0", 80), TcpAddress("::", 80)], tls=False) == ["http://localhost/"]
