"""One health check against servers that behave in every way."""

from __future__ import annotations

import contextlib
import os
import resource
import socket

import pytest
import trio
import trio.testing

from hotswap.core.address import Address, TcpAddress, UnixAddress
from hotswap.core.config.pools import HealthTable
from hotswap.core.pool.health import ProbeResult
from hotswap.edge.upstream.probe import MAX_HEAD_BYTES, probe
from hotswap.wire.http2.frames import SETTINGS, write_frame, write_headers, write_window_update

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def health(**keys):
    """A table; the timeout is long, so that only tests about it meet it."""
    return HealthTable.model_validate({"timeout": "20s", **keys})


class Server:
    """Answers connections on a Unix socket or on loopback with what it was told, and keeps what it was
    asked."""

    def __init__(self, listening, address, answer):
        self.listening, self.address, self.answer = listening, address, answer
        self.asked = b""

    async def serve(self):
        """Answer one connection after the other."""
        while True:
            connection, _ = await self.listening.accept()
            self.asked = b""
            with connection:
                while b"\r\n\r\n" not in self.asked:
                    self.asked += await connection.recv(65536)
                if callable(self.answer):
                    await self.answer(connection)
                else:
                    await send_all(connection, self.answer)


async def send_all(connection, data):
    """Send everything, byte by byte when it is short; whoever asked may hang up meanwhile."""
    step = 1 if len(data) < 500 else 10_000
    try:
        for start in range(0, len(data), step):
            await connection.send(data[start : start + step])
    except (BrokenPipeError, ConnectionResetError):
        pass


@pytest.fixture(params=["unix", "tcp"])
async def serve(request, tmp_path, nursery):
    """Start a server that gives this answer."""
    opened = []

    async def start(answer):
        if request.param == "unix":
            listening = trio.socket.socket(socket.AF_UNIX)
            path = str(tmp_path / "sock")
            await listening.bind(path)
            address: Address = UnixAddress(path)
        else:
            listening = trio.socket.socket(socket.AF_INET)
            await listening.bind(("127.0.0.1", 0))
            address = TcpAddress(*listening.getsockname())
        listening.listen()
        opened.append(listening)
        server = Server(listening, address, answer)
        nursery.start_soon(server.serve)
        return server

    yield start
    nursery.cancel_scope.cancel()
    for listening in opened:
        listening.close()


async def test_an_expected_status_passes(serve):
    """The request is a whole one, and asks for the path of the table."""
    server = await serve(OK)
    result = await probe(server.address, health(path="/up?deep=1"), pool="web")
    assert result == ProbeResult(ok=True, status=200)
    lines = server.asked.decode().split("\r\n")
    assert lines[0] == "GET /up?deep=1 HTTP/1.1"
    assert "Host: web" in lines
    assert "Connection: close" in lines


async def test_the_host_is_that_of_the_table(serve):
    """Apps that check the name they are called by want their own."""
    server = await serve(OK)
    await probe(server.address, health(host="example.org"), pool="web")
    assert b"\r\nHost: example.org\r\n" in server.asked


@pytest.mark.parametrize(("status", "ok"), [(204, True), (302, True), (404, False), (503, False)])
async def test_the_status_is_what_counts(serve, status, ok):
    """A failure says what was asked for, which status came and which were expected."""
    server = await serve(b"HTTP/1.1 %d Whatever\r\nContent-Length: 0\r\n\r\n" % status)
    result = await probe(server.address, health(), pool="web")
    assert (result.ok, result.status) == (ok, status)
    assert result.detail == ("" if ok else f"/healthz has status {status}, expected 200-399")


async def test_expected_statuses_are_those_of_the_table(serve):
    """Some backends say "alive" with 401."""
    server = await serve(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
    assert (await probe(server.address, health(expect="401"), pool="web")).ok


async def test_interim_responses_are_no_answer(serve):
    """103 comes before the status that counts."""
    server = await serve(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK)
    assert (await probe(server.address, health(), pool="web")).status == 200


async def test_the_body_is_ignored(serve):
    """Whether it is broken, huge or without end."""
    server = await serve(b"")
    for body in (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1_000_000,
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nx",
        b"HTTP/1.0 200 OK\r\n\r\nuntil the end",
    ):
        server.answer = body
        assert (await probe(server.address, health(), pool="web")).ok


async def test_a_body_without_end_is_not_waited_for(serve):
    """The answer is known with the head."""

    async def endless(connection):
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
        await trio.sleep_forever()

    server = await serve(endless)
    with trio.fail_after(10):
        assert (await probe(server.address, health(), pool="web")).ok


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        (b"", "closed without an answer"),
        (b"HTTP/1.1 200 O", "closed in the middle of the head"),
        (b"SSH-2.0-OpenSSH_9.9\r\n", "not an answer in HTTP/1.1"),
        (b"HTTP/1.1 200 OK\r\nbad header\x00\r\n\r\n", "not an answer in HTTP/1.1"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * MAX_HEAD_BYTES, "a head longer than"),
    ],
    ids=["nothing", "half a head", "another protocol", "a broken head", "a head without end"],
)
async def test_what_is_no_answer_is_told(serve, answer, detail):
    """No status, and what was wrong."""
    server = await serve(answer)
    result = await probe(server.address, health(), pool="web")
    assert not result.ok
    assert result.status is None
    assert result.detail.startswith(detail)


async def test_silence_ends_with_the_deadline(serve):
    """The backend is there and does not answer."""

    async def silent(connection):
        await trio.sleep_forever()

    server = await serve(silent)
    result = await probe(server.address, health(timeout="50ms"), pool="web")
    assert result == ProbeResult(ok=False, detail="no answer within 0.05 s")


async def test_an_answer_in_drops_ends_with_the_deadline(serve):
    """The deadline is over all of it, not over each byte."""

    async def drip(connection):
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the prober leaves
            while True:
                await connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
                await trio.sleep(0.01)

    server = await serve(drip)
    result = await probe(server.address, health(timeout="100ms"), pool="web")
    assert result.detail == "no answer within 0.1 s"


async def test_nobody_there_is_told_from_silence(tmp_path):
    """Refused, or not even a socket."""
    path = str(tmp_path / "sock")
    missing = await probe(UnixAddress(path), health(), pool="web")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
    refused = await probe(UnixAddress(path), health(), pool="web")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        nobody = await probe(TcpAddress("127.0.0.1", port), health(), pool="web")
    assert [result.detail for result in (missing, refused, nobody)] == [
        "connect failed: no such socket",
        "connect failed: refused",
        "connect failed: refused",
    ]


async def test_a_host_name_that_does_not_exist_is_no_exception():
    """Names are looked up within the probe."""
    result = await probe(TcpAddress("host.invalid", 80), health(timeout="500ms"), pool="web")
    assert not result.ok
    assert result.detail.startswith(("connect failed", "no connection"))


async def test_a_full_queue_is_no_connection(tmp_path):
    """A Unix socket that nobody accepts from, and whose queue is full, refuses neither nor connects."""
    path = str(tmp_path / "sock")
    callers = []
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen(0)
        try:
            while True:
                callers.append(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK))
                callers[-1].connect(path)
        except BlockingIOError:
            pass
        result = await probe(UnixAddress(path), health(timeout="50ms"), pool="web")
        for caller in callers:
            caller.close()
    assert result == ProbeResult(ok=False, detail="no connection within 0.05 s")


async def test_nothing_is_left_open(serve):
    """Not after an answer, and not after a cancellation."""

    async def silent(connection):
        await connection.recv(1)

    server = await serve(silent)
    await probe(server.address, health(timeout="20ms"), pool="web")
    await trio.testing.wait_all_tasks_blocked()
    before = len(os.listdir("/proc/self/fd"))
    with trio.move_on_after(0.02):
        await probe(server.address, health(), pool="web")
    await trio.testing.wait_all_tasks_blocked()
    server.answer = OK
    await probe(server.address, health(), pool="web")
    await trio.testing.wait_all_tasks_blocked()
    assert len(os.listdir("/proc/self/fd")) == before


async def test_who_has_no_descriptor_has_not_asked():
    """That says nothing of the backend."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        results = [
            await probe(address, health(), pool="web")
            for address in (TcpAddress("127.0.0.1", 9), UnixAddress("/nowhere"))
        ]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert [(result.ok, result.asked) for result in results] == [(False, False)] * 2
    assert (await probe(UnixAddress("/nowhere"), health(), pool="web")).asked


async def test_a_backend_of_http2_may_say_much_before_it_answers(nursery):
    """Frames that were read and not looked at yet are not waited for (a probe would time out over them)."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")

    async def answer() -> None:
        async with await listener.accept() as stream:
            await stream.receive_some(65536)
            said = write_frame(SETTINGS, 0, 0) + write_window_update(0, 1) * 1000
            await stream.send_all(said + write_headers(1, b"\x88", end=True))
            while await stream.receive_some(65536):
                pass

    async with listener:
        nursery.start_soon(answer)
        address = TcpAddress(*listener.socket.getsockname())
        result = await probe(address, health(timeout="5s"), pool="web", h2c=True)
    assert (result.ok, result.status) == (True, 200)
