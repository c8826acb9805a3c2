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
        ("::1:80", r'in brackets: write "\[::1\]:80"'),
        ("::1", r'the port is missing, and IPv6 stands in brackets: write "\[::1\]:8000"'),
        ("2001:db8::1:8000", r'write "\[2001:db8::1\]:8000"'),
        ("8000", 'the host is missing: write "127.0.0.1:8000"'),
        ("*:80", 'the host is missing: write "0.0.0.0:80"'),
        ("/run/app.sock", 'write "unix:/run/app.sock"'),
        ("https://example.org/x", 'without scheme and path: write "example.org:443"'),
        ("http://example.org", 'write "example.org:80"'),
        ("http://[::1]:9000/", r'write "\[::1\]:9000"'),
        ("my host:80", "my host is neither a host name"),
        ("user@host:80", "neither a host name"),
        ("[localhost]:80", "neither a host name"),
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
    with pytest.raises(ValueError, match=rf"\"HOST:PORT\", .*; .*{why}"):
        parse_address(text)


@pytest.mark.parametrize(
    ("host", "ip"), [("127.0.0.1", "127.0.0.1"), ("0::1", "::1"), ("localhost", "None"), ("", "None")]
)
def test_an_ip_address_is_told_from_a_host_name(host, ip):
    """However it is written."""
    assert str(ip_of(host)) == ip
