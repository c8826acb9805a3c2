"""PROXY protocol headers on a listener: whose word is taken, and what a connection without one comes to."""

from __future__ import annotations

import pytest
import trio

from tests.support.stage import GET, OK, open_stage

pytestmark = pytest.mark.fail_after(10)

TOLD = b"PROXY TCP4 203.0.113.9 127.0.0.1 4096 443\r\n"


@pytest.mark.parametrize("pieces", [[TOLD + GET], [TOLD, GET], [bytes((byte,)) for byte in TOLD + GET]])
async def test_a_balancer_says_who_the_client_is(pieces):
    """However its header is cut."""
    async with open_stage(proxy_protocol=True) as stage:
        client = await stage.connect()
        for piece in pieces:
            await client.send(piece)
            await trio.lowlevel.checkpoint()
        line = await stage.backend.accept()
        assert b"\r\nX-Forwarded-For: 203.0.113.9\r\n" in await line.read_head()
        await line.send(OK)
        await client.read_response()
        assert (await stage.wait_records())[0]["client"] == "203.0.113.9"
        client.close()
        await stage.wait_connections(0)


@pytest.mark.parametrize("data", [GET, b"\x16\x03\x01\x02\x00", b"PROXY TCP4 nonsense\r\n"])
async def test_without_a_header_the_connection_is_closed(data):
    """Nothing is guessed and nothing is answered (P5)."""
    async with open_stage(proxy_protocol=True) as stage:
        client = await stage.connect()
        await client.send(data)
        assert await client.wait_broken() == b""
        await stage.wait_connections(0)


async def test_a_header_has_its_time():
    """The header timeout, and nothing is answered."""
    async with open_stage(proxy_protocol=True) as stage:
        client = await stage.connect()
        await client.send(TOLD[:10])
        await stage.wait_connections(1)
        await stage.let_pass(11)
        assert await client.wait_broken() == b""


async def test_only_trusted_peers_may_say_who_the_client_is():
    """Where they are listed."""
    async with open_stage(proxy_protocol=True, trusted_proxies=("192.0.2.0/24",)) as stage:
        client = await stage.connect()
        await client.send(TOLD + GET)
        assert await client.wait_broken() == b""
