"""Silent connections give way; nobody is turned away for them."""

from __future__ import annotations

import socket
from pathlib import Path

import httpx
import pytest
import trio

from hotswap.control.admin import serving
from hotswap.control.admin.places import TCP_PLACES, Places
from hotswap.core.address import TcpAddress
from tests.support.event_stream import open_event_stream
from tests.support.fake_runtime import CONFIGURATION, open_fake_proxy


class Someone:
    """A caller."""

    def __init__(self, since: float | None) -> None:
        self.since = since
        self.evicted = False

    def silent_since(self) -> float | None:
        return self.since

    def evict(self) -> None:
        self.evicted = True


def test_the_longest_silent_one_gives_way() -> None:
    """Never one whose answer is being made."""
    places = Places(3)
    busy, early, late, comer = Someone(None), Someone(1.0), Someone(2.0), Someone(3.0)
    assert all(map(places.take, (busy, late, early)))
    assert places.take(comer)
    assert [one.evicted for one in (busy, early, late, comer)] == [False, True, False, False]


def test_where_everybody_waits_for_an_answer_there_is_no_place() -> None:
    """Until one of them has it; who was evicted takes nobody's place back."""
    places = Places(1)
    first, second = Someone(None), Someone(None)
    assert places.take(first)
    assert not places.take(second)
    places.leave(second)
    assert not places.take(second)
    places.leave(first)
    assert places.take(second)


async def connect(address: TcpAddress, sent: bytes) -> trio.SocketStream:
    """Connect, and send the beginning of something."""
    stream = await trio.open_tcp_stream(address.host, address.port)
    if sent:
        await stream.send_all(sent)
    return stream


@pytest.mark.parametrize(
    "sent", [b"", b"GET /livez HTTP/1.1\r\nHost: localh", b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"]
)
async def test_silent_connections_shut_nobody_out(tmp_path: Path, sent: bytes) -> None:
    """Whether they have said nothing, half of a request, or were answered: the next caller is served at once."""
    text = CONFIGURATION.replace('bind = ["127.0.0.1:0"]', f'bind = ["127.0.0.1:0", "unix:{tmp_path}/admin.sock"]', 1)
    async with open_fake_proxy(text) as proxy, open_event_stream(proxy.addresses[0]) as events:
        address = proxy.addresses[0]
        assert isinstance(address, TcpAddress)
        silent = [await connect(address, sent) for _ in range(TCP_PLACES + 8)]
        transport = httpx.AsyncHTTPTransport(uds=f"{tmp_path}/admin.sock")
        with trio.fail_after(5):
            async with httpx.AsyncClient(base_url=proxy.url) as client:
                assert (await client.get("/livez")).status_code == 200
            async with httpx.AsyncClient(base_url="http://localhost", transport=transport) as client:
                assert (await client.get("/livez")).status_code == 200
        # Who listens to events was there first, and is no silent one.
        proxy.runtime.events.publish("slot.counted", number=1)
        assert (await events.event())["kind"] == "slot.counted"
        for one in silent:
            await one.aclose()


async def test_a_client_that_does_not_read_gives_way_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answer is stuck in the socket, which nobody must be made to wait for."""
    monkeypatch.setattr(serving, "TCP_PLACES", 1)
    monkeypatch.setattr("hotswap.control.admin.connection.STALLED", 0.0)
    async with open_fake_proxy() as proxy:
        address = proxy.addresses[0]
        assert isinstance(address, TcpAddress)
        deaf = trio.socket.socket()
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await deaf.connect((address.host, address.port))
        request = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
        with trio.move_on_after(1):
            while True:
                await deaf.send(request * 20)
        with trio.fail_after(5):
            async with httpx.AsyncClient(base_url=proxy.url) as client:
                assert (await client.get("/livez")).status_code == 200
        deaf.close()
