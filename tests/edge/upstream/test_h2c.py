"""Backends of HTTP/2, driven by hand: what a refused stream, GOAWAY, a full window and a reset come to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings
import hpack
import pytest
import trio
import trio.lowlevel
from h2.errors import ErrorCodes

from hotswap.core.address import TcpAddress
from hotswap.core.config import StaticPoolTable
from hotswap.core.strategy import BackendProtocol, Balance
from hotswap.edge.exchange.exchange import Exchange
from hotswap.wire.http2.client_stream import STREAM_WINDOW
from hotswap.wire.http2.frames import SETTINGS, write_frame, write_goaway, write_headers
from tests.support.http2_client import Http2Client, Upload
from tests.support.http2_frames import GET as GET_FIELDS
from tests.support.http2_frames import POST as POST_FIELDS
from tests.support.plane import Running, open_plane
from tests.support.stage import line_of

POST = b"POST /work HTTP/1.1\r\nHost: example.org\r\nContent-Length: 4\r\n\r\nwork"
GET = b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"


class Backend:
    """The server's end of one connection."""

    def __init__(self, stream: trio.SocketStream, allowed: int) -> None:
        self.stream = stream
        self.machine = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding=None))
        self.machine.local_settings = h2.settings.Settings(
            client=False, initial_values={h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: allowed}
        )
        self.machine.initiate_connection()
        self.events: list[h2.events.Event] = []

    async def flush(self) -> None:
        """Send what was said."""
        await self.stream.send_all(self.machine.data_to_send())

    async def wait(self, kind: type[h2.events.Event]) -> h2.events.Event:
        """The next event of a kind; those before it are dropped."""
        while True:
            while self.events:
                event = self.events.pop(0)
                if isinstance(event, kind):
                    return event
            await self.flush()
            data = await self.stream.receive_some(65536)
            assert data, f"the proxy closed before {kind.__name__}"
            self.events += self.machine.receive_data(data)
            await self.flush()

    async def request(self) -> int:
        """The next request; gives its stream."""
        event = await self.wait(h2.events.RequestReceived)
        assert isinstance(event, h2.events.RequestReceived)
        assert event.stream_id is not None
        return event.stream_id

    async def answer(self, stream_id: int, body: bytes = b"ok") -> None:
        """Answer with 200."""
        length = b"%d" % len(body)
        self.machine.send_headers(stream_id, [(b":status", b"200"), (b"content-length", length)])
        self.machine.send_data(stream_id, body, end_stream=True)
        await self.flush()


class Ends:
    """Sockets of a test, which are closed with it."""

    def __init__(self, running: Running, listener: trio.SocketListener) -> None:
        self.listener = listener
        self.port = running.port
        self.opened: list[trio.SocketStream] = []

    async def connect(self) -> trio.SocketStream:
        """Another client."""
        self.opened.append(await trio.open_tcp_stream("127.0.0.1", self.port))
        return self.opened[-1]

    async def accept_silent(self) -> trio.SocketStream:
        """The backend's end of the next connection, on which it says nothing by itself."""
        self.opened.append(await self.listener.accept())
        return self.opened[-1]

    async def accept(self, allowed: int = 100) -> Backend:
        """The backend's end of the next connection, which allows so many streams."""
        self.opened.append(await self.listener.accept())
        backend = Backend(self.opened[-1], allowed)
        await backend.flush()
        return backend


@asynccontextmanager
async def open_stage(hold_timeout: str = "30s") -> AsyncIterator[tuple[Running, trio.SocketStream, Ends]]:
    """A proxy, a client of HTTP/1.1, and what else is needed."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    address = TcpAddress("127.0.0.1", listener.socket.getsockname()[1])
    async with listener, open_plane(address) as running:
        running.link.drop_pool("web")
        running.pool.backends[0].h2c = True
        table = StaticPoolTable(addresses=(address,), protocol=BackendProtocol.H2C, hold_timeout=hold_timeout)
        running.link.add_pool(running.pool, table)
        ends = Ends(running, listener)
        try:
            yield running, await ends.connect(), ends
            assert running.log.defects == []
        finally:
            for stream in ends.opened:
                stream.socket.close()


async def read_status(client: trio.SocketStream) -> bytes:
    """The status line of the next answer."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = await client.receive_some(65536)
        assert piece
        data += piece
    return data.partition(b"\r\n")[0]


async def read_until(client: trio.SocketStream, end: bytes) -> bytes:
    """Everything up to some bytes, which are the last that come."""
    data = b""
    while not data.endswith(end):
        piece = await client.receive_some(65536)
        assert piece
        data += piece
    return data


async def test_a_refused_stream_is_sent_again_whatever_the_method():
    """REFUSED_STREAM says that nothing was done, so even a POST goes again, marked, and is answered once."""
    async with open_stage() as (running, client, ends):
        await client.send_all(POST)
        backend = await ends.accept()
        backend.machine.reset_stream(await backend.request(), ErrorCodes.REFUSED_STREAM)
        await backend.answer(await backend.request())
        assert await read_status(client) == b"HTTP/1.1 200 OK"
        assert running.plane.gates["web"].retried == 1


async def test_a_stream_above_the_last_of_a_goaway_goes_to_another_connection():
    """The backend says up to where it began; what is above goes elsewhere, what is below is answered where it is."""
    async with open_stage() as (_, client, ends):
        other = await ends.connect()
        await client.send_all(POST)
        backend = await ends.accept()
        first = await backend.request()
        await other.send_all(POST)
        assert await backend.request() > first
        backend.machine.close_connection(last_stream_id=first)
        await backend.flush()
        second = await ends.accept()
        await second.answer(await second.request())
        assert await read_status(other) == b"HTTP/1.1 200 OK"
        fields = bytes((0x88,))  # :status 200, from the static table
        await backend.stream.send_all(len(fields).to_bytes(3, "big") + b"\x01\x05" + first.to_bytes(4, "big") + fields)
        assert await read_status(client) == b"HTTP/1.1 200 OK"


@pytest.mark.parametrize("body", [b"", b"what nobody reads", b"x" * 100_000])
async def test_a_file_that_a_backend_names_is_answered_and_the_rest_of_its_response_is_discarded(tmp_path, body):
    """Up to a limit; then the stream is reset. The connection goes on."""
    (tmp_path / "a").write_bytes(b"of the file")
    async with open_stage() as (running, client, ends):
        roots = (("/protected/", str(tmp_path)),)
        running.pool.reconfigure(balance=Balance.ROUND_ROBIN, size=1, max_in_flight=0, sendfile=roots)
        await client.send_all(GET)
        backend = await ends.accept()
        stream = await backend.request()
        fields = [(b":status", b"200"), (b"x-accel-redirect", b"/protected/a"), (b"content-type", b"text/x-own")]
        backend.machine.send_headers(stream, fields, end_stream=not body)
        await backend.flush()
        head = await read_until(client, b"of the file")
        assert b"Content-Length: 11\r\n" in head
        assert b"text/x-own" in head
        assert b"accel" not in head.lower()
        assert running.in_flight == 0
        if len(body) > 65536:
            for place in range(0, len(body), 10_000):
                with suppress(h2.exceptions.ProtocolError):
                    backend.machine.send_data(stream, body[place : place + 10_000])
                await backend.flush()
            await backend.wait(h2.events.StreamReset)
        elif body:
            backend.machine.send_data(stream, body, end_stream=True)
            await backend.flush()
        await client.send_all(GET)
        await backend.answer(await backend.request())
        assert await read_status(client) == b"HTTP/1.1 200 OK"


async def test_a_post_that_was_reset_is_not_sent_again():
    """Any other reset may have come after the work was done."""
    async with open_stage() as (running, client, ends):
        await client.send_all(POST)
        backend = await ends.accept()
        backend.machine.reset_stream(await backend.request(), ErrorCodes.INTERNAL_ERROR)
        await backend.flush()
        assert await read_status(client) == b"HTTP/1.1 502 Bad Gateway"
        assert running.plane.gates["web"].retried == 0


async def test_a_client_that_goes_away_resets_its_stream_and_no_other():
    """The backend hears of it; the connection goes on."""
    async with open_stage() as (_, client, ends):
        other = await ends.connect()
        await client.send_all(GET)
        backend = await ends.accept()
        await backend.request()
        await other.send_all(GET)
        second = await backend.request()
        await client.aclose()
        await backend.wait(h2.events.StreamReset)
        await backend.answer(second)
        assert await read_status(other) == b"HTTP/1.1 200 OK"


async def test_a_slow_client_stops_its_stream_and_no_other():
    """What waits here is at most a stream's window; another exchange of the same connection passes."""
    async with open_stage() as (running, client, ends):
        other = await ends.connect()
        await client.send_all(GET)
        backend = await ends.accept()
        slow = await backend.request()
        backend.machine.send_headers(slow, [(b":status", b"200")])
        sent = 0
        with trio.move_on_after(2):
            while True:
                room = min(backend.machine.local_flow_control_window(slow), 16384)
                if room:
                    backend.machine.send_data(slow, bytes(room))
                    sent += room
                    await backend.flush()
                else:
                    with trio.fail_after(0.5) if sent < STREAM_WINDOW else trio.move_on_after(0.5) as waited:
                        await backend.wait(h2.events.WindowUpdated)
                    if waited.cancelled_caught:
                        break
        assert backend.machine.local_flow_control_window(slow) == 0, "the client took everything"
        (connection,) = running.plane.gates["web"].upstreams[running.pool.backends[0].id].connections
        (exchange,) = connection.exchanges()
        assert isinstance(exchange, Exchange)
        assert exchange.connection is not None
        assert exchange.connection.paused
        await other.send_all(GET)
        await backend.answer(await backend.request())
        assert await read_status(other) == b"HTTP/1.1 200 OK"


async def test_a_backend_that_does_not_speak_http2_is_answered_for():
    """What it says is not taken for anything."""
    async with open_stage() as (_, client, ends):
        await client.send_all(POST)
        backend = await ends.accept()
        await backend.stream.send_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        assert await read_status(client) == b"HTTP/1.1 502 Bad Gateway"


@pytest.mark.parametrize("ended", [True, False], ids=["trailers only", "with a body"])
async def test_fields_of_an_answer_go_on(ended: bool):
    """Also those of an answer that is nothing else, as gRPC refuses (found: they were lost)."""
    async with open_stage() as (_, client, ends):
        await client.send_all(GET)
        backend = await ends.accept()
        stream_id = await backend.request()
        backend.machine.send_headers(stream_id, [(b":status", b"200"), (b"grpc-status", b"5")], end_stream=ended)
        if not ended:
            backend.machine.send_data(stream_id, b"ok", end_stream=True)
        await backend.flush()
        data = b""
        while b"\r\n\r\n" not in data:
            data += await client.receive_some(65536)
        assert data.startswith(b"HTTP/1.1 200 OK\r\ngrpc-status: 5\r\n")


async def test_trailers_behind_an_empty_body_go_on():
    """Whatever the length says: gRPC tells by them what became of a call."""
    async with open_stage() as (_, _, ends):
        client = Http2Client(line_of(await ends.connect()))
        await client.greet()
        await client.send(client.write.headers(1, GET_FIELDS))
        backend = await ends.accept()
        stream_id = await backend.request()
        backend.machine.send_headers(stream_id, [(b":status", b"200"), (b"content-length", b"0")])
        backend.machine.send_headers(stream_id, [(b"grpc-status", b"5")], end_stream=True)
        await backend.flush()
        await client.wait_end(1)
        assert client.answer(1) == (200, b"")
        assert (b"grpc-status", b"5") in client.read.fields[1][-1]


async def test_an_authority_is_never_empty():
    """A client of HTTP/1.0 may name none, but here it would be malformed (RFC 9113 8.3.1)."""
    async with open_stage() as (_, client, ends):
        await client.send_all(b"GET / HTTP/1.0\r\n\r\n")
        backend = await ends.accept()
        event = await backend.wait(h2.events.RequestReceived)
        assert isinstance(event, h2.events.RequestReceived)
        assert (b":authority", b"localhost") in event.headers


@pytest.mark.parametrize("body", [b"", b"work", bytes(200_000)], ids=["none", "short", "beyond the window"])
async def test_trailers_of_a_request_go_on(body: bytes):
    """From a client of HTTP/2, without those that belong to a head."""
    async with open_stage() as (_, _, ends):
        client = Http2Client(line_of(await ends.connect()))
        await client.greet()
        await client.send(client.write.headers(1, POST_FIELDS, end=False))
        trailers = [(b"x-sum", b"1"), (b"authorization", b"no"), (b"content-length", b"5"), (b"x_sum", b"no")]

        async def upload() -> None:
            await Upload(client, 1, body, ends=False).send()
            await client.send(client.write.headers(1, trailers))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(upload)
            backend = await ends.accept()
            stream_id = await backend.request()
            received = b""
            while True:
                event = await backend.wait(h2.events.Event)
                if isinstance(event, h2.events.DataReceived):
                    received += event.data
                    backend.machine.acknowledge_received_data(event.flow_controlled_length, stream_id)
                elif isinstance(event, h2.events.TrailersReceived):
                    break
        assert received == body
        assert list(event.headers) == [(b"x-sum", b"1")]
        await backend.wait(h2.events.StreamEnded)
        await backend.answer(stream_id)
        await client.wait_end(1)
        assert client.answer(1) == (200, b"ok")


@pytest.mark.parametrize("status", [b"204", b"304"])
async def test_a_body_where_there_is_none_is_never_taken_for_the_next_response(status: bytes):
    """It would be a whole response to a client of HTTP/1.1: it is dropped with its stream, and what is next goes on."""
    evil = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
    async with open_stage() as (_, client, ends):
        await client.send_all(GET + GET)
        backend = await ends.accept()
        stream_id = await backend.request()
        backend.machine.send_headers(stream_id, [(b":status", status)])
        backend.machine.send_data(stream_id, evil, end_stream=True)
        await backend.flush()
        second = await backend.request()
        await backend.answer(second, b"good")
        answer = b""
        while not answer.endswith(b"good"):
            answer += await client.receive_some(65536)
        assert b"evil" not in answer
        assert answer.startswith(b"HTTP/1.1 502 ")
        assert answer.count(b"HTTP/1.1") == 2


@pytest.mark.parametrize("fields", [[(b"x-no", b"status")], [(b":status", b"200"), (b"X-Upper", b"a")]])
async def test_an_answer_that_is_malformed_is_an_answer(fields: list[tuple[bytes, bytes]]):
    """The backend has done its work: it is not asked again, whatever the method."""
    async with open_stage() as (running, client, ends):
        await client.send_all(GET)
        backend = await ends.accept()
        stream_id = await backend.request()
        block = hpack.Encoder().encode(fields)
        head = len(block).to_bytes(3, "big") + b"\x01\x05" + stream_id.to_bytes(4, "big") + block
        await backend.stream.send_all(head)
        assert await read_status(client) == b"HTTP/1.1 502 Bad Gateway"
        assert running.plane.gates["web"].retried == 0


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        ([(b":status", b"200"), (b"connection", b"close")], b"ok"),
        ([(b":status", b"200"), (b"X-Upper", b"a")], b"ok"),
        ([(b":status", b"200"), (b"content-length", b"1")], b"ok"),
    ],
    ids=["a field of HTTP/1.1", "a name in upper case", "a longer body"],
)
async def test_a_malformed_response_costs_its_own_exchange_and_no_other(fields: list[tuple[bytes, bytes]], body: bytes):
    """Found: a POST beside it got 502, and a download broke off in the middle."""
    async with open_stage() as (running, client, ends):
        posting, loading = await ends.connect(), await ends.connect()
        await client.send_all(GET)
        backend = await ends.accept()
        bad = await backend.request()
        await posting.send_all(POST)
        post = await backend.request()
        await loading.send_all(GET)
        load = await backend.request()
        backend.machine.send_headers(load, [(b":status", b"200"), (b"content-length", b"4")])
        backend.machine.send_data(load, b"ab")
        await backend.flush()
        assert await read_status(loading) == b"HTTP/1.1 200 OK"
        block = hpack.Encoder().encode(fields)
        await backend.stream.send_all(write_headers(bad, block, end=False) + write_frame(0, 1, bad, body))
        assert await read_status(client) == b"HTTP/1.1 502 Bad Gateway"
        await backend.answer(post)
        assert await read_status(posting) == b"HTTP/1.1 200 OK"
        backend.machine.send_data(load, b"cd", end_stream=True)
        await backend.flush()
        assert running.plane.gates["web"].retried == 0
        while True:
            piece = await loading.receive_some(65536)
            assert piece
            if piece.endswith(b"cd"):
                break


async def test_a_burst_waits_until_the_backend_has_said_how_many_it_takes():
    """Nothing is refused: what has no room goes to connections of its own, and nobody is lost."""
    async with open_stage() as (running, _, ends):
        clients = [await ends.connect() for _ in range(5)]
        for client in clients:
            await client.send_all(POST)
        begun = []
        for room in (2, 2, 1):
            backend = await ends.accept(allowed=2)
            begun += [(backend, await backend.request()) for _ in range(room)]
        assert not [
            event for backend, _ in begun for event in backend.events if isinstance(event, h2.events.RequestReceived)
        ]
        for backend, stream_id in begun:
            await backend.answer(stream_id)
        for client in clients:
            assert await read_status(client) == b"HTTP/1.1 200 OK"
        assert running.plane.gates["web"].retried == 0


async def test_refusals_are_no_tries():
    """A backend may refuse as long as it is full: nothing was done, and nothing is counted."""
    async with open_stage() as (running, client, ends):
        await client.send_all(POST)
        backend = await ends.accept()
        for _ in range(8):
            backend.machine.reset_stream(await backend.request(), ErrorCodes.REFUSED_STREAM)
            await backend.flush()
        await backend.answer(await backend.request())
        assert await read_status(client) == b"HTTP/1.1 200 OK"
        assert running.plane.gates["web"].budget.active == 0


async def test_refusals_end_with_the_time_that_a_request_may_be_held():
    """503, and a time to come back."""
    async with open_stage(hold_timeout="200ms") as (_, client, ends):
        await client.send_all(GET)
        backend = await ends.accept()

        async def refuse() -> None:
            while True:
                backend.machine.reset_stream(await backend.request(), ErrorCodes.REFUSED_STREAM)
                await backend.flush()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(refuse)
            head = b""
            while b"\r\n\r\n" not in head:
                head += await client.receive_some(65536)
            nursery.cancel_scope.cancel()
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nRetry-After: " in head


async def test_an_answer_in_frames_of_a_byte_arrives_in_few_pieces():
    """What came together goes on together, and others have their turn meanwhile."""
    async with open_stage() as (_, client, ends):
        await client.send_all(GET)
        backend = await ends.accept()
        stream_id = await backend.request()
        backend.machine.send_headers(stream_id, [(b":status", b"200")])
        await backend.flush()

        async def send() -> None:
            sent = write_frame(0, 0, stream_id, b"x") * 20_000 + write_frame(0, 1, stream_id, b"x")
            await backend.stream.send_all(sent)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            body = b""
            while not body.endswith(b"0\r\n\r\n"):
                body += await client.receive_some(65536)
        chunks = body.partition(b"\r\n\r\n")[2].split(b"\r\n")[:-3:2]
        pieces = [int(size, 16) for size in chunks]
        assert sum(pieces) == 20_001
        assert len(pieces) < 500


async def test_what_waits_for_a_backend_that_leaves_at_once_goes_elsewhere():
    """It has not begun with any of them, and says so before it says what it allows."""
    async with open_stage() as (running, client, ends):
        await client.send_all(POST)
        leaving = await ends.accept_silent()
        await leaving.send_all(write_frame(SETTINGS, 0, 0) + write_goaway(0, 0))
        backend = await ends.accept()
        await backend.answer(await backend.request())
        assert await read_status(client) == b"HTTP/1.1 200 OK"
        assert running.in_flight == 0


async def test_a_backend_that_does_not_say_what_it_allows_is_a_failed_connect():
    """After some seconds; nothing was sent, so that a POST is tried again as well."""
    async with open_stage() as (running, client, ends):
        await client.send_all(POST)
        await ends.accept_silent()
        (connection,) = running.plane.gates["web"].upstreams[running.pool.backends[0].id].connections
        while connection.connecting:
            await trio.lowlevel.checkpoint()
        connection.on_deadline()
        backend = await ends.accept()
        await backend.answer(await backend.request())
        assert await read_status(client) == b"HTTP/1.1 200 OK"
        assert running.plane.tally.retries["web", "not-connected"] == 1
