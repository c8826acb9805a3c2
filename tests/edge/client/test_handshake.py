"""Handshakes: what a client's hello decides, before TLS begins."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trio
import trio.lowlevel

from hotswap.core.config import TlsTable
from hotswap.edge.client.handshake import PLAIN_HTTP
from hotswap.edge.client.tls import GROUPS, choose_groups, open_context
from hotswap.wire.client_hello import HELLO_BYTES
from tests.support.certificates import Names
from tests.support.stage import GET, OK, open_stage
from tests.wire.test_client_hello import extension, hello_with

pytestmark = pytest.mark.fail_after(15)

NO_APPLICATION_PROTOCOL = b"\x15\x03\x03\x00\x02\x02\x78"
UNKNOWN_NAME = extension(0, b"\x00\x05\x00\x00\x02\xff\xfe")


def context_of(names: Names, *hosts: str, http2: bool) -> ssl.SSLContext:
    """Of a listener with a certificate for each host."""
    table = TlsTable.model_validate({"certificates": [names.files(host) for host in hosts]})
    return open_context(table, http2=http2, authority_dir=names.folder, where="x")


@pytest.mark.parametrize("maximum", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize(("offered", "http2"), [("ftp", True), ("h2", False)])
async def test_a_client_that_speaks_nothing_of_ours_is_told(tmp_path: Path, maximum, offered: str, http2: bool):
    """The alert no_application_protocol (RFC 7301 3.2), and the end."""
    names = Names(tmp_path)
    async with open_stage(context=context_of(names, "localhost", http2=http2), http2=http2) as stage:
        names.client.maximum_version = maximum
        names.client.set_alpn_protocols([offered])
        with pytest.raises(trio.BrokenResourceError) as caught:
            await stage.connect_tls(names.client)
        assert "no application protocol" in str(caught.value.__cause__)
        await stage.wait_connections(0)
        assert ("handshake.failed", {"listener": "public", "error": "no common protocol"}) in stage.log.said


@pytest.mark.parametrize("offered", [None, "http/1.0", "http/1.1"])
async def test_a_client_that_speaks_http_1_is_served(tmp_path: Path, offered: str | None):
    """Whether it says so or not."""
    names = Names(tmp_path)
    async with open_stage(context=context_of(names, "localhost", http2=True)) as stage:
        if offered is not None:
            names.client.set_alpn_protocols(["ftp", offered])
        client = await stage.connect_tls(names.client)
        await client.send(GET)
        await stage.backend.serve_one(OK)
        assert (await client.read_response())[1] == b"ok"


async def test_a_hello_may_come_byte_by_byte(tmp_path: Path):
    """And in two records."""
    names = Names(tmp_path)
    async with open_stage(context=context_of(names, "localhost", http2=True)) as stage:
        line = await stage.connect()
        hello = hello_with(extension(16, b"\x00\x04\x03ftp"))
        message = hello[5:]
        for piece in (message[:20], message[20:]):
            for byte in b"\x16\x03\x01" + len(piece).to_bytes(2) + piece:
                await line.send(bytes([byte]))
                await trio.lowlevel.checkpoint()
        assert await line.read_to_end() == NO_APPLICATION_PROTOCOL


async def test_a_name_that_is_not_ascii_is_one_that_nobody_has(tmp_path: Path):
    """The first certificate is shown; nothing is printed, which pytest would make a failure of."""
    names = Names(tmp_path)
    async with open_stage(context=context_of(names, "a.test", "b.test", http2=True)) as stage:
        line = await stage.connect()
        key_share = b"\x00\x24\x00\x1d\x00\x20" + b"\x07" * 32
        extensions = (
            UNKNOWN_NAME
            + extension(10, b"\x00\x02\x00\x1d")
            + extension(13, b"\x00\x04\x04\x03\x08\x04")
            + extension(43, b"\x02\x03\x04")
            + extension(51, key_share)
        )
        await line.send(hello_with(extensions))
        assert (await line.read_exactly(6))[0::5] == b"\x16\x02"  # a record with the server's hello
        line.close()
        await stage.wait_connections(0)
        assert stage.log.defects == []


@pytest.mark.parametrize(
    "request_bytes",
    [GET, b"GET / HTTP/1.0\r\n\r\n", b"GET / HTTP/1.1\r\nContent-Length: 9", b"GET / HTTP/1.1\n", GET + b"x" * 60_000],
    ids=["whole", "1.0", "line and more", "line", "long"],
)
async def test_plain_http_on_a_tls_port_is_answered_in_words(tmp_path: Path, request_bytes: bytes):
    """With 400, what to do, and an end in order; the access log has the line, as nginx's would."""
    async with open_stage(context=context_of(Names(tmp_path), "localhost", http2=True)) as stage:
        line = await stage.connect()
        await line.send(request_bytes)
        head, body = await line.read_response()
        assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert b"\r\nConnection: close\r\n" in head
        assert b"\r\nContent-Type: text/plain; charset=utf-8\r\n" in head
        assert body == PLAIN_HTTP
        assert b"https://" in body
        assert await line.read_to_end() == b""
        line.close()
        await stage.wait_connections(0)
        (record,) = await stage.wait_records()
        assert (record["method"], record["target"], record["status"]) == ("GET", "/", 400)
        assert (record["response_bytes"], record["error"]) == (len(body), "plain HTTP on a listener with TLS")
        assert ("handshake.failed", {"listener": "public", "error": "plain HTTP"}) in stage.log.said
        assert stage.log.defects == []


async def test_plain_http_may_come_byte_by_byte_and_as_head(tmp_path: Path):
    """An answer to HEAD has no body."""
    async with open_stage(context=context_of(Names(tmp_path), "localhost", http2=True)) as stage:
        line = await stage.connect()
        for byte in b"HEAD / HTTP/1.1\r\n":
            await line.send(bytes([byte]))
            await trio.lowlevel.checkpoint()
        answer = await line.read_to_end()
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("said", [b"GET / HT", b"GET /"])
async def test_who_leaves_before_the_request_line_is_whole_is_not_answered(tmp_path: Path, said: bytes):
    """Nor is anything left of it."""
    async with open_stage(context=context_of(Names(tmp_path), "localhost", http2=True)) as stage:
        line = await stage.connect()
        await line.send(said)
        line.close()
        await stage.wait_connections(0)
        assert stage.records() == []


async def test_letters_without_end_are_answered_too(tmp_path: Path):
    """What is no request line after 16 KiB will be none."""
    async with open_stage(context=context_of(Names(tmp_path), "localhost", http2=True)) as stage:
        line = await stage.connect()
        await line.send(b"a" * HELLO_BYTES)
        assert (await line.read_response())[1] == PLAIN_HTTP
        (record,) = await stage.wait_records()
        assert (record["method"], record["status"]) == ("", 400)


async def test_tls_on_a_plain_port_is_told_in_the_access_log():
    """Its client says "wrong version number" of the 400, and means that."""
    async with open_stage() as stage:
        line = await stage.connect()
        await line.send(hello_with(b""))
        assert (await line.wait_broken()).startswith(b"HTTP/1.1 400 ")
        (record,) = await stage.wait_records()
        assert record["error"] == "TLS on a listener without it"


class OfLater:
    """A context of a Python that can be told about groups; its OpenSSL knows some."""

    def __init__(self, known: str) -> None:
        self.known = known
        self.groups = ""

    def set_groups(self, groups: str) -> None:
        """As `ssl.SSLContext.set_groups` of Python 3.15."""
        if not set(groups.split(":")) <= set(self.known.split(":")):
            raise ssl.SSLError("unknown group")
        self.groups = groups


def test_groups_are_chosen_where_ssl_can_be_told():
    """The first list that is known as a whole, and none before Python 3.15."""
    old, new = OfLater("P-521:X448:X25519:P-256:P-384"), OfLater(GROUPS[0])
    assert choose_groups(old)
    assert choose_groups(new)
    assert (old.groups, new.groups) == (GROUPS[1], GROUPS[0])
    assert choose_groups(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)) == hasattr(ssl.SSLContext, "set_groups")
