"""Listeners: who is accepted, when accepting pauses, and what a listener is told of its clients."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import trio

from hotswap.core.address import TcpAddress, UnixAddress
from hotswap.core.config import LimitsTable, TlsTable
from hotswap.core.room import client_descriptors
from hotswap.edge.client.http2_connection import Http2Connection
from hotswap.edge.client.listener import OpenListener, Want
from hotswap.edge.client.tls import open_context
from hotswap.edge.loop.sockets import bind, inherited_sockets, matches
from tests.support.http2_frames import PREFACE, FrameWriter
from tests.support.stage import GET, OK, Stage, open_stage

pytestmark = pytest.mark.fail_after(10)

CROWD = 90
"""Clients that come together."""
TOLD = b"PROXY TCP4 203.0.113.9 127.0.0.1 4096 443\r\n"
"""What a balancer says of its client."""


class Costly:
    """A clock that is moved by being looked at: everything that is done between two looks takes as long."""

    now = 1000.0

    def __call__(self) -> float:
        """The time."""
        self.now += 0.0003
        return self.now


async def test_at_the_limit_the_kernel_keeps_the_queue():
    """The next client is served as soon as one has left."""
    async with open_stage(limits={"connections": 1}) as stage:
        first, line = await stage.exchange()
        second = await stage.connect()
        await second.send(GET)
        await stage.settle()
        assert len(stage.plane.listeners["public"].connections) == 1
        assert stage.plane.tally.connections["public"] == 1
        first.close()
        await line.read_head()
        await line.send(OK)
        await second.read_response()


async def test_without_descriptors_accepting_pauses():
    """It is said once, and those who are connected go on (R8)."""
    async with open_stage() as stage:
        client, line = await stage.exchange()
        waiting = await stage.connect()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        listener = stage.plane.listeners["public"]
        listener.pause()
        await stage.settle()
        late = await stage.connect()
        await late.send(GET)
        highest = max(int(name) for name in os.listdir("/proc/self/fd"))
        spare = [os.dup(0) for _ in range(highest + 2 - len(os.listdir("/proc/self/fd")))]
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(int(n) for n in os.listdir("/proc/self/fd")), hard))
        try:
            listener.start()
            await trio.sleep(0.02)
            await stage.let_pass(0.11)
            await stage.let_pass(0.11)
            await client.send(GET)
            await line.read_head()
            await line.send(OK)
            await client.read_response()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for descriptor in spare:
                os.close(descriptor)
        assert [event for event, _ in stage.log.said].count("listener.paused") == 1
        await stage.let_pass(0.11)
        await line.read_head()
        await line.send(OK)
        await late.read_response()
        waiting.close()


@contextmanager
def few_descriptors(stage: Stage, *, spare: int) -> Iterator[None]:
    """Allow this process so many more descriptors for clients than it has open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    numbers = {int(name) for name in os.listdir("/proc/self/fd")}
    fillers = []
    while (lowest := os.dup(0)) < max(numbers):  # so that the next number is the highest
        fillers.append(lowest)
    os.close(lowest)
    held = stage.plane.room.held()
    limit = next(
        limit
        for limit in range(lowest, 8 * lowest + 64)
        if client_descriptors(limit, others=lowest - held) >= lowest + spare
    )
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for descriptor in fillers:
            os.close(descriptor)


async def test_idle_connections_make_room_when_descriptors_are_short():
    """Those that never asked first, none that came a moment ago; who asks is served meanwhile, and it is said once."""
    async with open_stage() as stage:
        asked, line = await stage.exchange()
        silent = await stage.connect()
        await stage.wait_connections(2)
        with few_descriptors(stage, spare=1):
            last = await stage.connect()  # one more descriptor is this end's, and the proxy's end is the first too many
            await last.send(GET)
            await line.read_head()
            await stage.wait_connections(3)
            assert stage.plane.listeners["public"]._want is Want.DESCRIPTORS
            await line.send(OK)
            await last.read_response()
            await stage.let_pass(1.2)
            assert await silent.wait_broken() == b""
            await asked.send(GET)
            await line.read_head()
            await line.send(OK)
            await asked.read_response()
        said = [event for event, _ in stage.log.said]
        assert said.count("descriptors.short") == said.count("listener.paused") == 1


async def test_want_of_descriptors_is_no_fault_of_a_backend():
    """503 with a time to come back, charged to nobody; then idle connections to backends make room."""
    async with open_stage(backends=2) as stage:
        clients = [await stage.connect() for _ in range(8)]
        await stage.wait_connections(8)
        with few_descriptors(stage, spare=-1000):  # none for connections to backends either
            for client in clients:
                await client.send(GET)
                head, _ = await client.read_response()
                assert head.startswith(b"HTTP/1.1 503 ")
                assert b"\r\nRetry-After: " in head
        assert not any(backend.member.ejected or backend.in_flight for backend in stage.backends)
        assert not stage.plane.gates["web"].ejections.suspects
        for record in await stage.wait_records(8):
            assert (record["status"], record["side"], record["retries"]) == (503, "internal", 0)
        await clients[0].send(GET)
        await stage.backend.serve_one()
        await clients[0].read_response()


async def test_a_raised_limit_of_connections_lets_in_who_waits():
    """Without anybody having to leave."""
    async with open_stage(limits={"connections": 1}) as stage:
        _, line = await stage.exchange()
        waiting = await stage.connect()
        await waiting.send(GET)
        await stage.settle()
        assert len(stage.plane.listeners["public"].connections) == 1
        table = stage.listener.table.model_copy(update={"limits": LimitsTable(connections=2)})
        stage.plane.open_listener(
            OpenListener(name="public", table=table, sockets=stage.listener.sockets, context=None)
        )
        await line.read_head()
        await line.send(OK)
        await waiting.read_response()


async def test_at_the_limit_who_is_idle_for_long_makes_room():
    """Who asked a moment ago does not."""
    async with open_stage(limits={"connections": 2}) as stage:
        idle, _ = await stage.exchange()
        busy = await stage.connect()
        await stage.wait_connections(2)
        waiting = await stage.connect()
        await waiting.send(GET)
        await stage.let_pass(4)
        await busy.send(GET)
        line = await stage.backend.serve_one()
        await busy.read_response()
        assert len(stage.plane.listeners["public"].connections) == 2
        await stage.let_pass(2)
        assert await idle.wait_broken() == b""
        await line.read_head()
        await line.send(OK)
        await waiting.read_response()
        await busy.send(GET)
        await line.read_head()
        await line.send(OK)
        await busy.read_response()


@pytest.mark.parametrize("kind", ["tls", "preamble", "lingering close"])
async def test_whatever_nobody_speaks_over_makes_room_at_the_limit(tmp_path, kind):
    """A handshake that does not begin, a header that does not come, a client that does not take its leave."""
    context = None
    if kind == "tls":
        context = open_context(TlsTable(self_signed=("localhost",)), http2=False, authority_dir=tmp_path, where="x")
    limits = {"connections": 1, "header_timeout": "60s"}
    async with open_stage(limits=limits, context=context, proxy_protocol=kind == "preamble") as stage:
        silent = await stage.connect()
        if kind == "lingering close":
            await silent.send(b"nonsense\r\n\r\n")
            await silent.read_head()
        await stage.wait_connections(1)
        (before,) = stage.plane.listeners["public"].connections
        await stage.connect()
        await stage.settle()
        assert set(stage.plane.listeners["public"].connections) == {before}
        await stage.let_pass(6)
        await silent.wait_broken()
        await stage.wait_connections(1)
        assert before not in stage.plane.listeners["public"].connections


async def test_a_balancer_whose_client_has_too_many_leaves_room_at_the_limit():
    """Found: the listener that had stopped for want of it was never told, and accepted nobody any more."""
    async with open_stage(limits={"connections": 2, "connections_per_client": 1}, proxy_protocol=True) as stage:
        first = await stage.connect()
        await first.send(TOLD + GET)
        line = await stage.backend.serve_one()
        await first.read_response()
        second = await stage.connect()
        await stage.wait_connections(2)
        third = await stage.connect()
        await third.send(TOLD.replace(b"203.0.113.9", b"203.0.113.10") + GET)
        await stage.settle()
        await second.send(TOLD)
        assert await second.wait_broken() == b""
        await line.read_head()
        await line.send(OK)
        await third.read_response()


async def test_one_client_may_have_so_many_connections():
    """One more is closed at once; others, and the same one later, are served."""
    async with open_stage(limits={"connections_per_client": 2}) as stage:
        first, line = await stage.exchange()
        second = await stage.connect()
        await stage.wait_connections(2)
        third = await stage.connect()
        assert await third.wait_broken() == b""
        second.close()
        await stage.wait_connections(1)
        fourth = await stage.connect()
        await fourth.send(GET)
        await line.read_head()
        await line.send(OK)
        await fourth.read_response()
        first.close()
        fourth.close()
        await stage.wait_connections(0)
        assert not stage.plane.listeners["public"]._clients


async def test_the_bounce_listener_redirects_to_the_same_host_and_path():
    """301, without the port when it is the scheme's own."""
    for status, port, location in (
        (301, 8443, b"https://example.org:8443/a?b=c"),
        (301, None, b"https://example.org/a?b=c"),
        (308, 443, b"https://example.org/a?b=c"),
    ):
        redirect = {"scheme": "https", "port": port, "status": status}
        async with open_stage(redirect=redirect) as stage:
            client = await stage.connect()
            await client.send(b"GET /a?b=c HTTP/1.1\r\nHost: Example.org:8080\r\n\r\n")
            head, _ = await client.read_response()
            assert head.startswith(b"HTTP/1.1 %d " % status)
            assert b"\r\nLocation: " + location + b"\r\n" in head
            await client.send(b"GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n")
            head, _ = await client.read_response()
            assert b"\r\nLocation: https://[::1]" in head


async def test_the_bounce_listener_needs_a_host():
    """There is none in an old request; found: it answered with a location without one."""
    async with open_stage(redirect={"scheme": "https"}) as stage:
        client = await stage.connect()
        await client.send(b"GET / HTTP/1.0\r\n\r\n")
        assert (await client.read_to_end()).startswith(b"HTTP/1.1 400 ")


async def test_a_unix_listener_serves_and_leaves_no_path(tmp_path):
    """Its clients have no address, and what they say of theirs is believed."""
    path = tmp_path / "front"
    async with open_stage(bind_to=UnixAddress(str(path))) as stage:
        client = await stage.connect()
        await client.send(GET.replace(b"\r\n\r\n", b"\r\nX-Forwarded-For: 192.0.2.7\r\n\r\n"))
        line = await stage.backend.accept()
        assert b"\r\nX-Forwarded-For: 192.0.2.7, unknown\r\n" in await line.read_head()
        await line.send(OK)
        await client.read_response()
        assert (await stage.wait_records())[0]["client"] == "192.0.2.7"
    assert not path.exists()


@pytest.mark.parametrize(
    ("told", "port"),
    [
        (b"Host: shop", b"80"),
        (b"Host: shop:8080", b"8080"),
        (b"Host: [::1]:8080", b"8080"),
        (b"Host: [::1]", b"80"),
        (b"Host: shop\r\nX-Forwarded-Proto: https", b"443"),
        (b"Host: shop\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: eu.shop:8443", b"8443"),
        (b"Host: shop\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Port: 8444", b"8444"),
    ],
)
async def test_a_port_that_nobody_told_is_that_of_the_host_or_the_scheme(tmp_path, told, port):
    """A Unix socket has none, and apps that build links would write any other into them."""
    async with open_stage(bind_to=UnixAddress(str(tmp_path / "front"))) as stage:
        client = await stage.connect()
        await client.send(GET.replace(b"Host: example.org", told))
        line = await stage.backend.accept()
        assert b"\r\nX-Forwarded-Port: %b\r\n" % port in await line.read_head()
        await line.send(OK)
        await client.read_response()


async def test_ipv6_clients_are_named_as_the_standard_says():
    """Quoted and in brackets in `Forwarded` (RFC 7239 6)."""
    async with open_stage(bind_to=TcpAddress("::1", 0)) as stage:
        client = await stage.connect()
        await client.send(GET.replace(b"example.org", b"[::1]:80"))
        line = await stage.backend.accept()
        head = await line.read_head()
        assert b"\r\nX-Forwarded-For: ::1\r\n" in head
        assert b'\r\nForwarded: for="[::1]";host="[::1]:80";proto=http\r\n' in head
        await line.send(OK)
        await client.read_response()
        assert (await stage.wait_records())[0]["client"] == "::1"


async def test_a_socket_that_was_inherited_is_used():
    """The one whose address matches, and no other; its variables are gone afterwards."""
    with socket.socket() as given:
        given.bind(("127.0.0.1", 0))
        given.listen()
        first = 200
        os.dup2(given.fileno(), first)
        environment = {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid()), "LISTEN_FDNAMES": "x", "OTHER": "1"}
        sockets = inherited_sockets(environment, first=first)
        assert environment == {"OTHER": "1"}
        address = TcpAddress("127.0.0.1", given.getsockname()[1])
        (sock,) = sockets
        assert not matches(sock, TcpAddress("127.0.0.1", 1))
        assert matches(sock, address)
        async with open_stage(sockets=[sock]) as stage:
            assert stage.port == address.port
            await stage.exchange()


FORWARDED = (
    b"GET / HTTP/1.1\r\nHost: example.org\r\nX-Forwarded-For: 203.0.113.9, 198.51.100.4\r\nX-Forwarded-Proto: https\r\n"
    b"X-Forwarded-Host: shop\r\nX-Forwarded-Port: 443\r\nForwarded: for=203.0.113.9\r\nX-Real-IP: 203.0.113.9\r\n"
    b"X-Forwarded-Prefix: /shop\r\n"
    b"X-Request-ID: given\r\n\r\n"
)


async def test_forwarded_fields_of_strangers_are_replaced():
    """Every one of them, and the request's id (P3)."""
    async with open_stage() as stage:
        client = await stage.connect()
        await client.send(FORWARDED)
        line = await stage.backend.accept()
        head = await line.read_head()
        assert b"203.0.113.9" not in head
        assert b"prefix" not in head.lower()
        for field in (b"For: 127.0.0.1", b"Proto: http", b"Host: example.org", b"Port: %d" % stage.port):
            assert head.count(b"\r\nX-Forwarded-" + field + b"\r\n") == 1
        assert b"\r\nForwarded: for=127.0.0.1;host=example.org;proto=http\r\n" in head
        assert b"given" not in head
        await line.send(OK)
        await client.read_response()
        (record,) = await stage.wait_records()
        assert record["client"] == "127.0.0.1"
        assert b"\r\nX-Request-ID: " + record["request_id"].encode() + b"\r\n" in head


async def test_forwarded_fields_of_trusted_proxies_are_continued():
    """And the right-most address that is no proxy's is the client in the log."""
    async with open_stage(trusted_proxies=("127.0.0.0/8", "198.51.100.0/24")) as stage:
        client = await stage.connect()
        await client.send(FORWARDED)
        line = await stage.backend.accept()
        head = await line.read_head()
        assert b"\r\nX-Forwarded-For: 203.0.113.9, 198.51.100.4, 127.0.0.1\r\n" in head
        assert b"\r\nX-Forwarded-Proto: https\r\n" in head
        assert b"\r\nX-Forwarded-Host: shop\r\n" in head
        assert (
            b"\r\nForwarded: for=203.0.113.9;host=shop;proto=https, for=198.51.100.4, "
            b"for=127.0.0.1;host=example.org;proto=http\r\n"
        ) in head
        assert b"\r\nX-Request-ID: given\r\n" in head
        assert b"\r\nx-real-ip: 203.0.113.9\r\n" in head
        assert b"\r\nX-Forwarded-Prefix: /shop\r\n" in head
        await line.send(OK)
        await client.read_response()
        assert (await stage.wait_records())[0]["client"] == "203.0.113.9"


@pytest.mark.parametrize("given", [b"a b", b'a"b', b"\xff", b"x" * 129])
async def test_an_id_that_could_break_a_log_is_made_anew(given: bytes):
    """Also from a trusted peer: backends write it as it is."""
    async with open_stage(trusted_proxies=("127.0.0.0/8",)) as stage:
        client = await stage.connect()
        await client.send(b"GET / HTTP/1.1\r\nHost: example.org\r\nX-Request-ID: " + given + b"\r\n\r\n")
        line = await stage.backend.accept()
        head = await line.read_head()
        assert given not in head
        assert b"\r\nX-Request-ID: " in head
        await line.send(OK)
        await client.read_response()


async def test_what_a_client_put_before_its_proxy_is_not_believed():
    """The proxy appended the truth; found: the first address was taken, which anybody can write."""
    async with open_stage(trusted_proxies=("127.0.0.0/8",)) as stage:
        client = await stage.connect()
        await client.send(GET.replace(b"\r\n\r\n", b"\r\nX-Forwarded-For: 10.0.0.1, 203.0.113.9:1234\r\n\r\n"))
        await stage.backend.serve_one()
        await client.read_response()
        assert (await stage.wait_records())[0]["client"] == "203.0.113.9"


def test_a_port_in_use_says_which():
    """The address, and a way out."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = TcpAddress("127.0.0.1", taken.getsockname()[1])
        with pytest.raises(Exception, match="in use") as caught:
            bind(address, where="listeners.public.bind[0]")
        assert str(address) in str(caught.value)
        assert errno.EADDRINUSE


async def test_clients_are_let_in_no_faster_than_their_work_is_done():
    """Found: each was told the settings at once and came again, and thousands with all their requests stood in line."""
    write = FrameWriter()
    burst = b"".join(write.headers(number) + write.reset(number) for number in range(1, 400, 2))
    async with open_stage() as stage:
        listener = stage.plane.listeners["public"]
        poller = stage.plane.poller
        poller._clock = Costly()
        crowd: list[int] = []
        poller.turn_ends.append(
            lambda: crowd.append(sum(isinstance(client, Http2Connection) for client in listener.connections))
        )
        listener.pause()
        await stage.settle()
        clients = [await stage.connect() for _ in range(CROWD)]
        for client in clients:
            await client.send(PREFACE + write.settings() + burst)
        listener.start()
        for client in clients:
            with contextlib.suppress(trio.BrokenResourceError):
                while await client.read():
                    pass
        assert 1 < max(crowd) < CROWD / 3
