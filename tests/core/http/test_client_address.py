"""Addresses of clients: which are the same client."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap.core.http.client_address import KEY_BYTES, client_key, parse_client


@pytest.mark.parametrize(
    ("client", "address"),
    [
        (b"192.0.2.7", "192.0.2.7"),
        (b"::ffff:192.0.2.7", "192.0.2.7"),
        (b"::FFFF:c000:207", "192.0.2.7"),
        (b"2001:db8::1", "2001:db8::1"),
        (b"fe80::1%eth0", "fe80::1"),
    ],
)
def test_an_address_is_read(client, address):
    """An IPv4 address in the clothes of an IPv6 one is an IPv4 address; a zone does not count."""
    assert parse_client(client) == ip_address(address)


@pytest.mark.parametrize("client", [b"unknown", b"_hidden", b"", b"192.0.2", b"192.0.2.07", b"x" * 200])
def test_what_has_no_address_has_none(client):
    """Whatever somebody wrote instead of one."""
    assert parse_client(client) is None


def test_clients_of_one_network_of_ipv6_are_one():
    """Who has an address has the whole /64."""
    assert client_key(b"2001:db8:1:2::1") == client_key(b"2001:db8:1:2:ffff::9")
    assert client_key(b"2001:db8:1:2::1") != client_key(b"2001:db8:1:3::1")


def test_an_ipv4_address_is_one_client():
    """However it is written."""
    assert client_key(b"192.0.2.7") == client_key(b"::ffff:192.0.2.7")
    assert client_key(b"192.0.2.7") != client_key(b"192.0.2.8")


def test_clients_without_an_address_are_one():
    """Nobody gets out of being counted by having none."""
    assert client_key(b"unknown") == client_key(b"_hidden")


@given(st.binary(max_size=80))
def test_anything_has_a_key(client):
    """Of the same length, and the same again."""
    assert len(client_key(client)) == KEY_BYTES
    assert client_key(client) == client_key(client)
