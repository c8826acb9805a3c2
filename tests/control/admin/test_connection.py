"""The admin API speaks HTTP/1.1, whatever a client speaks, and one bad client hurts no other."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator

import httpx
import pytest
import trio

from hotswap.core.address import TcpAddress
from tests.support.event_stream import open_event_stream
from tests.support.fake_runtime import FakeProxy, open_fake_proxy

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
BAD_HEADERS = b"\x00\x00\x05\x01\x05\x00\x00\x00\x01\xff\xff\xff\xff\xff"


@pytest.fixture
async def proxy() -> AsyncIterator[FakeProxy]:
    """A fake proxy on a loopback port."""
    async with open_fake_proxy() as fake:
        yield fake


async def connect(proxy: FakeProxy) -> trio.SocketStream:
    """Open a connection of our own."""
    address = proxy.addresses[0]
    assert isinstance(address, TcpAddress)
    return await trio.open_tcp_stream(address.host, address.port)


async def exchange(proxy: FakeProxy, data: bytes) -> bytes:
    """Send bytes, then read until the other side closes, or for a while if it does not."""
    got = bytearray()
    async with await connect(proxy) as stream:
        await stream.send_all(data)
        await stream.send_eof()
        with trio.move_on_after(2):
            async for chunk in stream:
                got.extend(chunk)
                if b"\r\n\r\n" in got:
                    break
    return bytes(got)


HOSTILE = {
    "http2 by prior knowledge": PREFACE + SETTINGS + BAD_HEADERS,
    "http2 frames alone": SETTINGS + BAD_HEADERS,
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32),
    "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "both lengths": b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nx",
    "bad chunk": b"POST /v1/nothing HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "bad percent": b"GET /%ff%zz HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "long head": b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 100_000,
    "a proxy's request": b"GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "asterisk": b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "connect": b"CONNECT localhost:1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "nothing": b"",
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_whatever_arrives_the_next_client_is_served(proxy: FakeProxy, name: str) -> None:
    """A connection that breaks the protocol takes no other with it, nor an open stream."""
    async with httpx.AsyncClient(base_url=proxy.url) as client, open_event_stream(proxy.addresses[0]) as stream:
        answer = await exchange(proxy, HOSTILE[name])
        assert not answer.startswith(b"HTTP/1.1 2")
        assert (await client.get("/livez")).status_code == 200
        proxy.runtime.events.publish("still.here")
        assert (await stream.event())["kind"] == "still.here"
    assert proxy.runtime.stopping == 0


async def test_an_offer_to_upgrade_to_http2_is_ignored(proxy: FakeProxy) -> None:
    """RFC 9110 7.8: a server may ignore it, and answers in the protocol it was asked in."""
    answer = await exchange(
        proxy,
        b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\n"
        b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n",
    )
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"101" not in answer.split(b"\r\n")[0]


async def test_a_client_that_leaves_while_it_waits_hurts_nobody(proxy: FakeProxy) -> None:
    """The rollout goes on, and the next call is answered."""
    proxy.runtime.outcome = "held"
    async with await connect(proxy) as stream:
        await stream.send_all(b"POST /v1/pools/web/reload?wait=true HTTP/1.1\r\nHost: localhost\r\n\r\n")
        while proxy.runtime.running("web") is None:
            await trio.lowlevel.checkpoint()
    proxy.runtime.go_on.set()
    async with httpx.AsyncClient(base_url=proxy.url) as client:
        await proxy.runtime.wait_rollout("r1")
        assert (await client.get("/v1/rollouts/r1")).json()["outcome"] == "done"


@pytest.mark.parametrize("taken", [0, 1, 60, 65536])
async def test_a_connection_that_its_client_has_left_is_closed_at_once(proxy: FakeProxy, taken: int) -> None:
    """However much of the answer it has read: nobody's next request is waited for."""
    address = proxy.addresses[0]
    assert isinstance(address, TcpAddress)

    def ask() -> None:
        for _ in range(20):
            with socket.create_connection((address.host, address.port)) as client:
                client.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
                if taken:
                    client.recv(taken)

    # What is opened only once is open now.
    await trio.to_thread.run_sync(ask)
    before = len(os.listdir("/proc/self/fd"))
    await trio.to_thread.run_sync(ask)
    with trio.fail_after(10):
        while len(os.listdir("/proc/self/fd")) > before:
            await trio.sleep(0.01)


async def test_pipelined_calls_are_answered_in_order(proxy: FakeProxy) -> None:
    """HTTP/1.1 allows it, so it works."""
    got = bytearray()
    async with await connect(proxy) as stream:
        await stream.send_all(
            b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
            b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        )
        async for chunk in stream:
            got.extend(chunk)
    assert got.index(b'"live"') < got.index(b'"ready"')
