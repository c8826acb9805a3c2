"""The first words of TLS, as real clients say them, cut anywhere, and as nobody should."""

from __future__ import annotations

import ssl
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap.wire.client_hello import HELLO_BYTES, ClientHello, parse_client_hello


def real_hello(name: str | None, protocols: list[str], version: ssl.TLSVersion) -> bytes:
    """What OpenSSL says."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.maximum_version = version
    if protocols:
        context.set_alpn_protocols(protocols)
    outgoing = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def hello_with(extensions: bytes) -> bytes:
    """One made by hand."""
    body = b"\x03\x03" + bytes(32) + b"\x00" + b"\x00\x02\x13\x01" + b"\x01\x00"
    body += struct.pack(">H", len(extensions)) + extensions
    message = b"\x01" + len(body).to_bytes(3) + body
    return b"\x16\x03\x01" + struct.pack(">H", len(message)) + message


def extension(kind: int, content: bytes) -> bytes:
    """One of its extensions."""
    return struct.pack(">HH", kind, len(content)) + content


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("name", [None, "example.org"])
@pytest.mark.parametrize("protocols", [[], ["h2", "http/1.1"], ["ftp"]])
def test_a_real_hello_is_read(version, name, protocols):
    """Whole, with bytes behind it, and not before all of it is there."""
    data = real_hello(name, protocols, version)
    expected = ClientHello(
        server_name=name and name.encode(), protocols=tuple(each.encode() for each in protocols) if protocols else None
    )
    assert parse_client_hello(data) == expected
    assert parse_client_hello(data + b"more") == expected
    for size in range(len(data)):
        assert parse_client_hello(data[:size]) is None


def test_a_hello_in_several_records_is_read():
    """However it is cut into them."""
    data = real_hello("example.org", ["h2"], ssl.TLSVersion.TLSv1_3)
    message = data[5:]
    for cut in (1, 3, 4, 50, len(message) - 1):
        pieces = message[:cut], message[cut:]
        records = b"".join(b"\x16\x03\x01" + struct.pack(">H", len(piece)) + piece for piece in pieces)
        assert parse_client_hello(records) == parse_client_hello(data)


def test_a_name_is_bytes():
    """Whatever they are."""
    entry = b"\x00" + struct.pack(">H", 2) + b"\xff\xfe"
    data = hello_with(extension(0, struct.pack(">H", len(entry)) + entry))
    assert parse_client_hello(data) == ClientHello(server_name=b"\xff\xfe")


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x00\x00",
        b"\x16\x03\x01\x00\x04\x02\x00\x00\x00",  # a server's hello
        hello_with(extension(16, b"\x00\x09\x05h2")),
        hello_with(extension(0, b"\x00")),
        hello_with(b"\x00\x10\x00"),
        b"\x16\x03\x01\x40\x00\x01\x00\x3f\xfc" + bytes(HELLO_BYTES),
        b"\x16\x03\x01\x40\x00\x01\xff\xff\xff" + bytes(HELLO_BYTES),
    ],
)
def test_of_what_is_no_hello_nothing_is_said(data):
    """OpenSSL refuses it."""
    assert parse_client_hello(data) == ClientHello()


@given(st.binary(max_size=400), st.integers(0, 300), st.binary(max_size=8))
def test_no_bytes_raise_anything(noise, place, patch):
    """Noise, and a real hello with some bytes changed."""
    parse_client_hello(noise)
    parse_client_hello(b"\x16\x03\x01" + noise)
    good = hello_with(extension(16, b"\x00\x03\x02h2") + extension(0, b"\x00\x06\x00\x00\x03abc"))
    parse_client_hello(good[:place] + patch + good[place + len(patch) :])
