"""Requests over a connection that was made for another host (L11): 421, in both versions of HTTP."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trio

from hotswap.core.config import TlsTable
from hotswap.edge.client.tls import open_context
from tests.support.certificates import Names
from tests.support.http2_client import Http2Client
from tests.support.http2_frames import GET as GET_FIELDS
from tests.support.stage import GET, OK, Line, Stage, open_stage

pytestmark = pytest.mark.fail_after(20)


def open_names(directory: Path, *names: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Contexts of a listener that has a certificate for each of these, and of a client that trusts them."""
    issued = Names(directory)
    table = TlsTable.model_validate({"certificates": [issued.files(name) for name in names]})
    issued.client.check_hostname = False  # the client under test is one that does not care
    return open_context(table, http2=True, authority_dir=directory, where="x"), issued.client


def get(host: bytes) -> bytes:
    """A request for a host."""
    return GET.replace(b"example.org", host)


async def test_a_request_for_another_hosts_certificate_is_misdirected(tmp_path: Path):
    """421, nothing reaches a backend, and the connection goes on with what it is for."""
    server, trusting = open_names(tmp_path, "a.example", "b.example")
    async with open_stage(context=server) as stage:
        client = await stage.connect_tls(trusting, "b.example")
        for host in (b"a.example", b"A.example:8443", b"elsewhere.example"):
            await client.send(get(host))
            head, body = await client.read_response()
            assert head.startswith(b"HTTP/1.1 421 Misdirected Request\r\n")
            assert body == b"421 Misdirected Request\n"
        await client.send(get(b"b.example:8443"))
        await stage.backend.serve_one()
        assert (await client.read_response())[1] == b"ok"
        records = await stage.wait_records(4)
        assert [record["status"] for record in records] == [421, 421, 421, 200]
        assert records[0]["side"] == "downstream"


async def test_a_client_that_named_nobody_is_not_judged(tmp_path: Path):
    """Nor is one of a listener with one certificate, which is shown to everybody."""
    server, trusting = open_names(tmp_path, "a.example", "b.example")
    async with open_stage(context=server) as stage:
        line = await stage.connect()
        assert isinstance(line.stream, trio.SocketStream)
        stream = trio.SSLStream(line.stream, trusting)
        await assert_served(stage, Line(stream, line.sock), b"b.example")
    server, trusting = open_names(tmp_path, "a.example")
    async with open_stage(context=server) as stage:
        await assert_served(stage, await stage.connect_tls(trusting, "a.example"), b"b.example")


async def assert_served(stage: Stage, client: Line, host: bytes) -> None:
    """One request that a backend sees."""
    await client.send(get(host))
    await stage.backend.serve_one(OK)
    assert (await client.read_response())[1] == b"ok"


async def test_a_stream_for_another_hosts_certificate_is_misdirected(tmp_path: Path):
    """421 on its stream; the others of the connection go on, also for another name of the same certificate."""
    issued = Names(tmp_path)
    table = TlsTable.model_validate(
        {"certificates": [issued.files("a.example"), issued.files("b.example", "also-b.example")]}
    )
    server = open_context(table, http2=True, authority_dir=tmp_path, where="x")
    issued.client.set_alpn_protocols(["h2"])
    async with open_stage(context=server) as stage:
        client = Http2Client(await stage.connect_tls(issued.client, "b.example"))
        await client.greet()
        for stream_id, authority in ((1, b"a.example"), (3, b"also-b.example")):
            await client.request(stream_id, (*GET_FIELDS[:2], (b":authority", authority), GET_FIELDS[3]))
        await stage.backend.serve_one(OK)
        await client.wait_end(1)
        await client.wait_end(3)
        assert client.status(1) == 421
        assert client.answer(3) == (200, b"ok")
        assert client.read.goaways() == []
