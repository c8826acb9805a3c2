"""What listener and route change in the heads of responses, and routes without access lines."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from hotswap.core.config import RouteTable, TlsTable
from hotswap.edge.client.tls import open_context
from tests.support.certificates import Names
from tests.support.http2_client import Http2Client, connect_http2
from tests.support.stage import GET, OK, Line, Stage, open_stage

pytestmark = pytest.mark.fail_after(10)

YEAR = b"\r\nStrict-Transport-Security: max-age=31536000\r\n"


def routed(**keys: Any) -> list[RouteTable]:
    """One route for everything."""
    return [RouteTable.model_validate({"pool": "web", **keys})]


@asynccontextmanager
async def open_tls_stage(
    directory: Path, hsts: str, protocol: str = "http/1.1", **settings: Any
) -> AsyncIterator[tuple[Stage, Line]]:
    """A stage whose listener speaks TLS, and a client of it."""
    issued = Names(directory)
    table = TlsTable.model_validate({"certificates": [issued.files("localhost")], "hsts": hsts})
    issued.client.set_alpn_protocols([protocol])
    context = open_context(table, http2=True, authority_dir=directory, where="x")
    async with open_stage(context=context, tls=table, **settings) as stage:
        yield stage, await stage.connect_tls(issued.client)


async def test_a_route_sets_and_removes_fields():
    """Those of the app are replaced, whatever their case; an empty value removes."""
    headers = {"X-Frame-Options": "DENY", "Server": "", "Cache-Control": "private"}
    async with open_stage(routes=routed(headers=headers)) as stage:
        client = await stage.connect()
        await client.send(GET)
        own = b"HTTP/1.1 200 OK\r\nserver: app\r\nCACHE-CONTROL: public\r\nX-A: b\r\nContent-Length: 0\r\n\r\n"
        await stage.backend.serve_one(own)
        head, _ = await client.read_response()
        assert b"\r\nX-Frame-Options: DENY\r\n" in head
        assert b"\r\nCache-Control: private\r\n" in head
        assert b"\r\nX-A: b\r\n" in head
        assert b"server" not in head.lower()
        assert b"public" not in head


async def test_an_answer_of_the_proxys_own_has_the_fields_of_its_route():
    """There is no backend; over HTTP/2 too."""
    async with open_stage(backends=0, routes=routed(headers={"X-A": "b", "Cache-Control": ""})) as stage:
        client = await stage.connect()
        await client.send(GET)
        head, _ = await client.read_response()
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nX-A: b\r\n" in head
        assert b"Cache-Control" not in head
        client2 = await connect_http2(stage)
        await client2.request(1)
        await client2.wait_end(1)
        assert (b"x-a", b"b") in client2.read.fields[1][0]


async def test_only_the_route_that_says_so_changes_fields():
    """Others are as they come."""
    async with open_stage(routes=[*routed(), *routed(path="/a", headers={"X-A": "b"})]) as stage:
        client, line = await stage.exchange()
        await client.send(GET.replace(b"/ ", b"/a/b "))
        await line.read_head()
        await line.send(OK)
        assert b"\r\nX-A: b\r\n" in (await client.read_response())[0]
        await client.send(GET)
        await line.read_head()
        await line.send(OK)
        assert b"X-A" not in (await client.read_response())[0]


async def test_fields_of_a_route_decide_whether_it_is_compressed():
    """They are there before that is looked at, and Vary is added to theirs."""
    body = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2000\r\n\r\n" + b"a" * 2000
    for headers, compressed in (({"Cache-Control": "no-transform"}, False), ({"Vary": "Cookie"}, True)):
        async with open_stage(routes=routed(headers=headers)) as stage:
            client = await stage.connect()
            await client.send(GET.replace(b"\r\n\r\n", b"\r\nAccept-Encoding: gzip\r\n\r\n"))
            await stage.backend.serve_one(body)
            head, _ = await client.read_response()
            assert (b"\r\nContent-Encoding: gzip\r\n" in head) == compressed
            assert (b"\r\nVary: Cookie, Accept-Encoding\r\n" in head) == compressed


async def test_browsers_are_told_to_come_by_https(tmp_path: Path):
    """By the app's answers and by ours, and in what is no answer to a request at all."""
    async with open_tls_stage(tmp_path, "365d") as (stage, client):
        await client.send(GET)
        line = await stage.backend.serve_one()
        assert YEAR in (await client.read_response())[0]
        await client.send(GET)
        await line.read_head()
        await line.send(OK.replace(b"\r\n\r\n", b"\r\nstrict-transport-security: max-age=5\r\n\r\n"))
        head, _ = await client.read_response()
        assert b"\r\nstrict-transport-security: max-age=5\r\n" in head
        assert YEAR not in head
        await client.send(b"GET / HTTP/1.1\r\nHost: \r\nHost: \r\n\r\n")
        head, _ = await client.read_response()
        assert head.startswith(b"HTTP/1.1 400 ")
        assert YEAR in head


async def test_over_http2_browsers_are_told_too(tmp_path: Path):
    """By answers, and by refusals of what is no request."""
    field = (b"strict-transport-security", b"max-age=86400")
    async with open_tls_stage(tmp_path, "1d", "h2", backends=0) as (_, line):
        client = Http2Client(line)
        await client.greet()
        await client.request(1)
        await client.wait_end(1)
        assert client.status(1) == 503
        assert field in client.read.fields[1][0]
        await client.request(
            3, ((b":method", b"TRACE"), (b":scheme", b"https"), (b":path", b"/"), (b":authority", b"a"))
        )
        await client.wait_end(3)
        assert client.status(3) == 405
        assert field in client.read.fields[3][0]


async def test_a_route_has_the_last_word_on_hsts_too(tmp_path: Path):
    """It may set another, or none."""
    for value in ("max-age=60; includeSubDomains", ""):
        async with open_tls_stage(
            tmp_path, "1d", backends=0, routes=routed(headers={"strict-transport-security": value})
        ) as (_, client):
            await client.send(GET)
            head, _ = await client.read_response()
            assert (b"\r\nstrict-transport-security: %b\r\n" % value.encode() in head) == bool(value)
            assert b"max-age=86400" not in head


async def test_nothing_is_said_of_https_without_the_key(tmp_path: Path):
    """Which is how it is by default."""
    async with open_tls_stage(tmp_path, "0s", backends=0) as (_, client):
        await client.send(GET)
        assert b"Strict" not in (await client.read_response())[0]


async def test_a_route_without_access_lines_is_counted_all_the_same():
    """Over HTTP/1.1 and HTTP/2; the others have theirs."""
    async with open_stage(backends=0, routes=[*routed(), *routed(path="/healthz", log=False)]) as stage:
        client = await stage.connect()
        for path in (b"/healthz", b"/a"):
            await client.send(GET.replace(b"/ ", path + b" "))
            await client.read_response()
        client2 = await connect_http2(stage)
        fields = ((b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"example.org"))
        await client2.request(1, (*fields, (b":path", b"/healthz/x")))
        await client2.request(3, (*fields, (b":path", b"/b")))
        await client2.wait_end(1)
        await client2.wait_end(3)
        assert [record["target"] for record in await stage.wait_records(2)] == ["/a", "/b"]
        assert sum(stage.plane.tally.requests.values()) == 4
