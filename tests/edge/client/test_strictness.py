"""Rows of the strictness list that need more than one request or one answer: F16 to F19, L8, P2, P3, P6 and P8."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
import trio

from tests.support.plane import open_plane
from tests.support.raw_client import open_client
from tests.support.recording_backend import Recorded, RecordingBackend, open_recording_backend
from tests.wire.feeding import cut
from tests.wire.payloads.case import SMUGGLED
from tests.wire.payloads.responses import OK, SWITCHING

HANDSHAKE = (
    b"GET /socket HTTP/1.1\r\nHost: example.org\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


def answering(raw: bytes, *, early: bool = False) -> RecordingBackend:
    """A backend with one answer to everything."""
    return RecordingBackend(answer=lambda recorded: raw, early=early)


async def test_continue_is_told_once_and_the_body_follows_it() -> None:
    """F17: the client hears 100 once, sends its body, and gets its answer."""
    backend = RecordingBackend(answer=lambda recorded: b"HTTP/1.1 100 Continue\r\n\r\n", early=True)
    async with (
        open_recording_backend(backend) as (_, address),
        open_plane(address) as running,
        open_client(running.port) as client,
    ):
        with trio.fail_after(5):
            await client.send(
                [b"POST / HTTP/1.1\r\nHost: example.org\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"]
            )
            assert await client.wait_received(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
            await client.send([b"hello"])
            while not (backend.requests and backend.requests[0].complete):
                await trio.lowlevel.checkpoint()
        assert backend.requests[0].body == b"hello"
        assert running.log.defects == []


async def test_http_1_0_clients_hear_nothing_of_continue() -> None:
    """F17: an interim response is unknown to HTTP/1.0 (RFC 9110 15.2)."""
    raw = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nok"
    async with (
        open_recording_backend(answering(raw)) as (_, address),
        open_plane(address) as running,
        open_client(running.port) as client,
    ):
        with trio.fail_after(5):
            await client.send([b"GET / HTTP/1.0\r\nHost: example.org\r\nExpect: 100-continue\r\n\r\n"])
            await client.wait_end()
            (answer,) = await client.wait_answers([b"GET"])
        assert (answer.interim, answer.body) == ([], b"ok")


@pytest.mark.parametrize("sent", [0, 5, 1000])
async def test_what_is_left_of_a_body_is_never_a_request(sent: int) -> None:
    """F18: an answer before the end of the body ends the connection, and the rest of the body goes nowhere."""
    backend = answering(OK + b"Content-Length: 2\r\n\r\nok", early=True)
    async with (
        open_recording_backend(backend) as (_, address),
        open_plane(address) as running,
        open_client(running.port) as client,
    ):
        with trio.fail_after(8):
            await client.send([b"POST / HTTP/1.1\r\nHost: example.org\r\nContent-Length: 50000\r\n\r\n" + b"x" * sent])
            (answer,) = await client.wait_answers([b"POST"])
            assert (answer.status, answer.body) == (200, b"ok")
            assert answer.named(b"connection") == [b"close"]
            await client.send([SMUGGLED, b"x" * 1000, SMUGGLED])
            await client.wait_end()
        assert [recorded.request.target for recorded in backend.requests] == [b"/"]
        assert len(await client.wait_answers([b"POST"])) == 1
        assert running.log.defects == []


async def test_pipelined_requests_are_answered_in_order() -> None:
    """F19: one at a time, bodies kept apart, however they are cut."""
    requests = (
        b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\n"
        b"POST /2 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
        b"HEAD /3 HTTP/1.1\r\nHost: x\r\n\r\n"
        b"POST /4 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        b"\r\nGET /5 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" + SMUGGLED
    )
    for pieces in ([requests], cut(requests), [requests[:100], requests[100:]]):
        async with (
            open_recording_backend() as (backend, address),
            open_plane(address) as running,
            open_client(running.port) as client,
        ):
            with trio.fail_after(5):
                await client.send(pieces)
                await client.wait_end()
                answers = await client.wait_answers([b"GET", b"POST", b"HEAD", b"POST", b"GET"])
            assert [answer.body for answer in answers] == [b"/1", b"/2", b"", b"/4", b"/5"]
            assert [recorded.body for recorded in backend.requests] == [b"", b"hello", b"", b"hello", b""]
            assert running.log.defects == []


async def test_requests_behind_a_bad_one_are_not_served() -> None:
    """F19: the good request before it is answered first."""
    requests = b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost : x\r\n\r\n" + SMUGGLED
    for pieces in ([requests], cut(requests)):
        async with (
            open_recording_backend() as (backend, address),
            open_plane(address) as running,
            open_client(running.port) as client,
        ):
            with trio.fail_after(5):
                await client.send(pieces)
                await client.wait_end()
                answers = await client.wait_answers([b"GET", b"GET"])
            assert [answer.status for answer in answers] == [200, 400]
            assert [recorded.request.target for recorded in backend.requests] == [b"/1"]


@pytest.mark.parametrize(
    "raw",
    [
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        OK + b"Connection: close\r\n\r\nhello",
    ],
    ids=["chunked", "until-the-end"],
)
@pytest.mark.parametrize("keep_alive", [b"", b"Connection: keep-alive\r\n"], ids=["plain", "keep-alive"])
async def test_http_1_0_clients_get_no_chunks(raw: bytes, keep_alive: bytes) -> None:
    """L8: a body without a length ends with the connection."""
    backend = RecordingBackend(answer=lambda recorded: raw, ends=True)
    async with (
        open_recording_backend(backend) as (_, address),
        open_plane(address) as running,
        open_client(running.port) as client,
    ):
        with trio.fail_after(5):
            await client.send([b"GET / HTTP/1.0\r\nHost: example.org\r\n" + keep_alive + b"\r\n"])
            await client.wait_end()
            (answer,) = await client.wait_answers([b"GET"])
        assert answer.named(b"transfer-encoding") == []
        assert answer.body == b"hello"


async def test_http_1_0_clients_keep_a_connection_when_they_ask_for_it() -> None:
    """L8: and are told that they may."""
    async with (
        open_recording_backend() as (_, address),
        open_plane(address) as running,
        open_client(running.port) as client,
    ):
        for _ in range(2):
            client.received.clear()
            with trio.fail_after(5):
                await client.send([b"GET / HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n\r\n"])
                (answer,) = await client.wait_answers([b"GET"])
            assert answer.named(b"connection") == [b"keep-alive"]
        assert not client.ended


async def test_a_trusted_peer_is_believed_and_continued() -> None:
    """P3: its fields stay, and our view of it is appended."""
    async with (
        open_recording_backend() as (backend, address),
        open_plane(address, trusted_proxies=(ip_network("127.0.0.0/8"),)) as running,
        open_client(running.port) as client,
    ):
        with trio.fail_after(5):
            await client.send(
                [
                    b"GET / HTTP/1.1\r\nHost: inner\r\nX-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\n"
                    b"X-Forwarded-Host: example.org\r\nForwarded: for=192.0.2.1\r\nX-Request-ID: abc\r\n\r\n"
                ]
            )
            await client.wait_answers([b"GET"])
        fields = backend.requests[0].fields
        assert [value for name, value in fields if name == b"x-forwarded-for"] == [b"192.0.2.1, 127.0.0.1"]
        assert [value for name, value in fields if name == b"x-forwarded-proto"] == [b"https"]
        assert [value for name, value in fields if name == b"x-forwarded-host"] == [b"example.org"]
        assert [value for name, value in fields if name == b"x-request-id"] == [b"abc"]
        (forwarded,) = [value for name, value in fields if name == b"forwarded"]
        assert forwarded.startswith(b"for=192.0.2.1, for=127.0.0.1;")


async def test_max_forwards_ends_here() -> None:
    """P6: OPTIONS with Max-Forwards 0 is answered by the proxy, and a larger number is counted down."""
    async with (
        open_recording_backend() as (backend, address),
        open_plane(address) as running,
        open_client(running.port) as client,
    ):
        with trio.fail_after(5):
            await client.send([b"OPTIONS / HTTP/1.1\r\nHost: x\r\nMax-Forwards: 0\r\n\r\n"])
            (answer,) = await client.wait_answers([b"OPTIONS"])
            assert answer.status in (200, 204)
            assert backend.requests == []
            client.received.clear()
            await client.send([b"OPTIONS / HTTP/1.1\r\nHost: x\r\nMax-Forwards: 5\r\n\r\n"])
            await client.wait_answers([b"OPTIONS"])
        assert (b"max-forwards", b"4") in backend.requests[0].fields


async def test_a_websocket_becomes_a_tunnel_after_101() -> None:
    """P8: bytes pass both ways from then on, also those that the backend sent with its answer."""
    async with (
        open_recording_backend(answering(SWITCHING + b"\x81\x02hi")) as (backend, address),
        open_plane(address) as running,
        open_client(running.port) as client,
    ):
        with trio.fail_after(5):
            await client.send([HANDSHAKE])
            head, _, rest = (await client.wait_received(len(SWITCHING) + 4)).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 101 ")
            assert rest == b"\x81\x02hi"
            await client.send([SMUGGLED])
            while not bytes(backend.received[0]).endswith(SMUGGLED):
                await trio.lowlevel.checkpoint()
        fields = backend.requests[0].fields
        assert (b"upgrade", b"websocket") in fields
        assert [value.lower() for name, value in fields if name == b"connection"] == [b"upgrade"]


BAD_HANDSHAKES = {
    "version": HANDSHAKE.replace(b"Version: 13", b"Version: 777"),
    "no version": HANDSHAKE.replace(b"Sec-WebSocket-Version: 13\r\n", b""),
    "no key": HANDSHAKE.replace(b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n", b""),
    "short key": HANDSHAKE.replace(b"AAAAAAAAAAAAAAAAAAAAAA==", b"AAAA"),
    "key that is no base64": HANDSHAKE.replace(b"AAAAAAAAAAAAAAAAAAAAAA==", b"!!!!!!!!!!!!!!!!!!!!!!!!"),
    "two keys": HANDSHAKE.replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"),
    "POST": HANDSHAKE.replace(b"GET", b"POST"),
    "HTTP/1.0": HANDSHAKE.replace(b"HTTP/1.1", b"HTTP/1.0"),
    "not named in Connection": HANDSHAKE.replace(b"keep-alive, Upgrade", b"keep-alive"),
    "two protocols": HANDSHAKE.replace(b"Upgrade: websocket", b"Upgrade: websocket, h2c"),
}


@pytest.mark.parametrize("row", BAD_HANDSHAKES)
async def test_a_bad_handshake_never_becomes_a_tunnel(row: str) -> None:
    """P8: it is refused or goes on as an ordinary request; a backend that switches all the same is a bad gateway."""
    async with (
        open_recording_backend(answering(SWITCHING)) as (backend, address),
        open_plane(address) as running,
        open_client(running.port) as client,
    ):
        with trio.fail_after(5):
            await client.send([BAD_HANDSHAKES[row]])
            (answer,) = await client.wait_answers([b"GET"])
        assert answer.status in (400, 426, 502)
        for recorded in backend.requests:
            assert not [value for name, value in recorded.fields if name in (b"upgrade", b"connection")]
        assert running.log.defects == []


@pytest.mark.parametrize("status", [200, 400, 426, 503])
async def test_a_handshake_that_is_declined_stays_http(status: int) -> None:
    """P8: after any answer but 101 the next bytes are a request to the proxy, and get our checks."""

    def decline(recorded: Recorded) -> bytes:
        return b"HTTP/1.1 %d Declined\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\nno" % status

    async with (
        open_recording_backend(RecordingBackend(answer=decline)) as (backend, address),
        open_plane(address) as running,
        open_client(running.port) as client,
    ):
        with trio.fail_after(5):
            await client.send([HANDSHAKE + b"GET /next HTTP/1.1\r\nHost : x\r\n\r\n"])
            await client.wait_end()
            answers = await client.wait_answers([b"GET", b"GET"])
        assert [answer.status for answer in answers] == [status, 400]
        assert len(backend.requests) == 1
        assert running.log.defects == []


async def test_a_get_with_a_body_leaves_nothing_on_the_connection() -> None:
    """F16: the connection to the backend is used again, and the next request is read as it was sent."""
    async with (
        open_recording_backend() as (backend, address),
        open_plane(address) as running,
        open_client(running.port) as client,
    ):
        body = b"GET /inner HTTP/1.1\r\nHost: x\r\n\r\n"
        for method in (b"GET", b"HEAD", b"DELETE", b"OPTIONS"):
            client.received.clear()
            with trio.fail_after(5):
                await client.send(
                    [b"%b /outer HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (method, len(body), body)]
                )
                (answer,) = await client.wait_answers([method])
            assert answer.status == 200
        assert [recorded.request.target for recorded in backend.requests] == [b"/outer"] * 4
        assert [recorded.body for recorded in backend.requests] == [body] * 4
