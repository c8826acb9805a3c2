"""How the admin API begins, fails and ends."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import httpx
import pytest
import structlog.testing
import trio
import trio.testing

from hotswap.control.admin import serving
from hotswap.control.admin.connection import ON_ITS_WAY
from hotswap.control.admin.sockets import AdminDoor
from hotswap.control.admin.streaming import stream_events
from hotswap.control.telemetry.events import EventLog
from hotswap.core.address import TcpAddress
from hotswap.core.errors import ConfigError
from tests.support.event_stream import open_event_stream
from tests.support.fake_runtime import CONFIGURATION, open_fake_proxy


async def test_it_answers_on_every_address(tmp_path: Path) -> None:
    """Over the Unix socket any name is right: no page reaches it."""
    path = tmp_path / "admin.sock"
    text = CONFIGURATION.replace('bind = ["127.0.0.1:0"]', f'bind = ["127.0.0.1:0", "unix:{path}"]', 1)
    async with open_fake_proxy(text) as proxy:
        assert len(proxy.addresses) == 2
        async with httpx.AsyncClient(base_url=proxy.url) as client:
            assert (await client.get("/livez")).status_code == 200
        transport = httpx.AsyncHTTPTransport(uds=str(path))
        async with httpx.AsyncClient(base_url="http://anything.example", transport=transport) as client:
            assert (await client.get("/v1/status")).status_code == 200
    assert not path.exists()


async def test_an_address_in_use_is_an_error_before_anything_is_served() -> None:
    """The process that starts it can say so and exit."""
    async with open_fake_proxy() as proxy:
        text = CONFIGURATION.replace("127.0.0.1:0", str(proxy.addresses[0]), 1)
        with pytest.raises(BaseExceptionGroup) as caught:
            async with open_fake_proxy(text):
                raise AssertionError("it started")
        assert caught.group_contains(ConfigError, match=r"admin\.bind\[0\]")


async def test_events_are_streamed_from_the_last_seen_on() -> None:
    """Each is given once, with its number, kind and fields."""
    async with open_fake_proxy() as proxy:
        for number in range(4):
            proxy.runtime.events.publish("slot.counted", number=number)
        async with open_event_stream(proxy.addresses[0], last_event_id="2") as stream:
            first = await stream.event()
            second = await stream.event()
        assert [first["id"], second["id"]] == [3, 4]
        assert first["kind"] == "slot.counted"
        assert first["number"] == 2


async def test_events_can_be_asked_for_without_a_field() -> None:
    """A person with a browser or curl writes the number into the address."""
    async with open_fake_proxy() as proxy:
        proxy.runtime.events.publish("one")
        async with open_event_stream(proxy.addresses[0], "/v1/events?after=0") as stream:
            assert (await stream.event())["kind"] == "one"


async def test_a_client_that_leaves_ends_its_subscription() -> None:
    """Nothing is queued for somebody who is gone."""
    async with open_fake_proxy() as proxy:
        async with open_event_stream(proxy.addresses[0]):
            assert len(proxy.runtime.events.subscriptions) == 1
        while proxy.runtime.events.subscriptions:
            await trio.sleep(0.001)


async def test_silence_is_filled_with_heartbeats(autojump_clock: trio.testing.MockClock) -> None:
    """A comment every fifteen seconds keeps what is between from hanging up."""
    stream = stream_events(EventLog(), None, ending=trio.Event())
    began = trio.current_time()
    assert b"listening" in await anext(stream)
    assert await anext(stream) == b": heartbeat\n\n"
    assert await anext(stream) == b": heartbeat\n\n"
    assert trio.current_time() - began == pytest.approx(30)
    await stream.aclose()


async def test_events_that_are_lost_are_said(autojump_clock: trio.testing.MockClock) -> None:
    """A client that comes back too late knows that it has to ask for the state."""
    events = EventLog(ring=1)
    for _ in range(5):
        events.publish("tick")
    stream = stream_events(events, 1, ending=trio.Event())
    await anext(stream)
    assert b'"count": 3' in await anext(stream)
    assert b"id: 5\n" in await anext(stream)
    await stream.aclose()


async def test_a_slow_reader_is_disconnected_after_what_was_queued() -> None:
    """It comes back with the number it saw last."""
    events = EventLog(queue=1)
    stream = stream_events(events, None, ending=trio.Event())
    await anext(stream)
    events.publish("one")
    events.publish("two")
    assert b"event: one" in await anext(stream)
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


async def test_at_the_end_streams_end_and_running_calls_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cancelled, it is gone as soon as the last call has its answer; nobody waits for the end of the grace."""
    monkeypatch.setattr(serving, "GRACE", 3600.0)
    async with open_fake_proxy() as proxy, httpx.AsyncClient(base_url=proxy.url) as client:
        proxy.runtime.outcome = "held"
        answers: list[int] = []

        async def wait_for_rollout() -> None:
            answers.append((await client.post("/v1/pools/web/reload?wait=true")).status_code)

        async def listen() -> None:
            async with open_event_stream(proxy.addresses[0]) as stream:
                await stream.rest()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait_for_rollout)
            nursery.start_soon(listen)
            while proxy.runtime.running("web") is None or not proxy.runtime.events.subscriptions:
                await trio.sleep(0.001)
            proxy.scope.cancel()
            proxy.runtime.go_on.set()
        assert answers == [200]
        address = proxy.addresses[0]
        assert isinstance(address, TcpAddress)
        with pytest.raises(OSError, match="all attempts to connect"):
            await trio.open_tcp_stream(address.host, address.port)


async def test_a_call_that_hangs_does_not_hold_up_the_end() -> None:
    """After a moment it is cut."""
    async with open_fake_proxy() as proxy, httpx.AsyncClient(base_url=proxy.url, timeout=10) as client:
        proxy.runtime.outcome = "held"

        async def wait_for_rollout() -> None:
            with pytest.raises(httpx.TransportError):
                await client.post("/v1/pools/web/reload?wait=true")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait_for_rollout)
            while proxy.runtime.running("web") is None:
                await trio.sleep(0.001)
            proxy.scope.cancel()


async def test_an_accept_loop_that_fails_is_started_again_and_streams_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Contained: it is logged, the port stays, and open connections do not notice."""
    accept = trio.SocketListener.accept
    broken = True

    async def accept_or_fail(listener: trio.SocketListener) -> trio.SocketStream:
        nonlocal broken
        stream = await accept(listener)
        if broken:
            broken = False
            await stream.aclose()
            raise RuntimeError("a defect")
        return stream

    with structlog.testing.capture_logs() as logs:
        async with open_fake_proxy() as proxy, open_event_stream(proxy.addresses[0]) as stream:
            monkeypatch.setattr(trio.SocketListener, "accept", accept_or_fail)
            # The loop is in the old accept; the next connection is the last that this one takes.
            async with httpx.AsyncClient(base_url=proxy.url) as second:
                await second.get("/livez")
            async with httpx.AsyncClient(base_url=proxy.url) as third:
                with pytest.raises(httpx.TransportError):
                    await third.get("/livez")
                assert (await third.get("/livez")).status_code == 200
            proxy.runtime.events.publish("still.here")
            assert (await stream.event())["kind"] == "still.here"
    assert "admin.restarting" in [entry["event"] for entry in logs]


async def test_a_request_that_was_on_its_way_when_the_door_closed_is_answered() -> None:
    """Found: the connection was taken for an idle one, and its client got an end in place of an answer."""
    door = AdminDoor()
    async with open_fake_proxy(door=door) as proxy:
        address = proxy.addresses[0]
        assert isinstance(address, TcpAddress)
        async with await trio.open_tcp_stream(address.host, address.port) as asking:
            request = b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
            await asking.send_all(request)
            answer = await asking.receive_some()
            assert answer.startswith(b"HTTP/1.1 200 ")
            await trio.testing.wait_all_tasks_blocked(0.01)  # its body may come by itself
            door.close()
            await trio.testing.wait_all_tasks_blocked()
            await asking.send_all(request)
            with trio.fail_after(5):
                while more := await asking.receive_some():
                    answer += more
            assert answer.count(b"HTTP/1.1 200 ") == 2


async def test_who_had_only_connected_when_the_door_closed_may_still_ask() -> None:
    """Found: on a busy machine a client needs longer than a moment from its connection to its request."""
    door = AdminDoor()
    async with open_fake_proxy(door=door) as proxy:
        address = proxy.addresses[0]
        assert isinstance(address, TcpAddress)
        async with await trio.open_tcp_stream(address.host, address.port) as asking:
            await trio.testing.wait_all_tasks_blocked(0.05)
            door.close()
            await trio.sleep(3 * ON_ITS_WAY)
            await asking.send_all(b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert (await asking.receive_some()).startswith(b"HTTP/1.1 200 ")


class Short(socket.socket):
    """A listening socket of a process that has no descriptor left for a copy of it."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = trio.Event()

    def dup(self) -> Short:
        """Fail, as the system would."""
        self.asked.set()
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


async def test_a_want_of_files_when_the_door_opens_again_ends_nothing() -> None:
    """Found: the copies of its sockets were made outside of what contains it, so the proxy would have ended."""
    door = AdminDoor()
    with Short() as short:
        async with open_fake_proxy(door=door) as proxy:
            door.close()
            await trio.testing.wait_all_tasks_blocked()
            real = door.sockets
            door.sockets = (short,)
            door.open()
            await short.asked.wait()
            door.sockets = real
            async with httpx.AsyncClient(base_url=proxy.url) as client:
                assert (await client.get("/livez")).status_code == 200
