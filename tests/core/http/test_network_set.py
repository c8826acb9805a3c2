"""Sets of networks: what they have, whatever they are made of."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from hypothesis import given
from hypothesis import strategies as st

from hotswap.core.http.network_set import NetworkSet


def networks(*texts: str) -> NetworkSet:
    """A set of networks as they are written."""
    return NetworkSet(map(ip_network, texts))


def test_an_address_is_in_one_of_the_networks_or_in_none():
    """At both ends of each, and beyond them."""
    known = networks("10.0.0.0/8", "192.0.2.7", "2001:db8::/32")
    inside = ("10.0.0.0", "10.255.255.255", "192.0.2.7", "2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff")
    outside = ("9.255.255.255", "11.0.0.0", "192.0.2.6", "192.0.2.8", "2001:db7::1", "2001:db9::", "::10.0.0.0")
    assert all(ip_address(one) in known for one in inside)
    assert not any(ip_address(one) in known for one in outside)


def test_ipv4_networks_may_be_written_as_ipv6_ones():
    """They are the networks of IPv4."""
    assert ip_address("10.1.2.3") in networks("::ffff:10.0.0.0/104")
    assert ip_address("11.1.2.3") not in networks("::ffff:10.0.0.0/104")


def test_an_empty_set_is_false():
    """It has nothing."""
    assert not networks()
    assert networks("10.0.0.0/8")
    assert ip_address("10.0.0.1") not in networks()


FOUR = st.builds(
    lambda number, prefix: IPv4Network((number, prefix), strict=False), st.integers(0, 2**32 - 1), st.integers(0, 32)
)
SIX = st.builds(
    lambda number, prefix: IPv6Network((number, prefix), strict=False), st.integers(0, 2**128 - 1), st.integers(8, 128)
)


@given(st.lists(FOUR | SIX, max_size=20), st.data())
def test_it_is_what_a_list_would_be(many, data):
    """An address is in the set if it is in one of them."""
    known = NetworkSet(many)
    edges = [one for network in many for one in (network.network_address, network.broadcast_address)]
    addresses = st.ip_addresses()
    if edges:
        addresses |= st.sampled_from(edges)
    address = data.draw(addresses)
    mapped = IPv6Network("::ffff:0:0/96")
    assert (address in known) == any(
        address in network
        or (
            address.version == 4
            and network.version == 6
            and network.subnet_of(mapped)
            and ip_address(f"::ffff:{address}") in network
        )
        for network in many
    )
