"""Addresses as they are written in the configuration."""

from __future__ import annotations

import pytest

from hotswap.core.address import TcpAddress, UnixAddress, ip_of, parse_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:80", TcpAddress("127.0.0.1", 80)),
        ("backend.example:0", TcpAddress("backend.example", 0)),
        ("[::1]:65535", TcpAddress("::1", 65535)),
        ("unix:/run/app.sock", UnixAddress("/run/app.sock")),
    ],
)
def test_an_address_is_read_and_written_alike(text, address):
    """IPv6 stands in brackets both ways."""
    assert parse_address(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "port is missing"),
        ("localhost", "port is missing"),
        ("::1:80", "in brackets"),
        ("localhost:", "a port is a number"),
        ("localhost:65536", "a port is a number"),
        ("localhost:١", "a port is a number"),
        (":80", "host is missing"),
        ("[]:80", "host is missing"),
        ("unix:", "path is missing"),
    ],
)
def test_what_is_no_address_is_told_what_is_missing(text, why):
    """And what is allowed."""
    with pytest.raises(ValueError, match=rf"{why}.*allowed: \"HOST:PORT\""):
        parse_address(text)


@pytest.mark.parametrize(
    ("host", "ip"), [("127.0.0.1", "127.0.0.1"), ("0::1", "::1"), ("localhost", "None"), ("", "None")]
)
def test_an_ip_address_is_told_from_a_host_name(host, ip):
    """However it is written."""
    assert str(ip_of(host)) == ip
