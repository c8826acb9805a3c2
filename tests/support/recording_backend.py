"""A backend that keeps every byte it gets, reads it with h11, and answers with whatever bytes a test wants."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import h11
import trio

from hotswap.core.address import TcpAddress


@dataclass(slots=True)
class Recorded:
    """One request as the backend got it.

    Attributes:
        raw_head: request line and fields, byte by byte, without the empty line.
        request: the same as h11 understands it, names in lower case.
        body: so far.
        complete: the request has ended.
    """

    raw_head: bytes
    request: h11.Request
    body: bytes = b""
    complete: bool = False

    @property
    def fields(self) -> list[tuple[bytes, bytes]]:
        """Names in lower case, and values."""
        return list(self.request.headers)


Answer = Callable[[Recorded], bytes]


def answer_with_target(recorded: Recorded) -> bytes:
    """Answer 200 with the request's target as the body."""
    body = recorded.request.target
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
    return head if recorded.request.method == b"HEAD" else head + body


@dataclass(slots=True)
class RecordingBackend:
    """What came, connection by connection.

    Attributes:
        answer: makes the bytes that answer a complete request; no bytes close the connection.
        early: answers as soon as the head is there.
        ends: closes the connection after an answer.
        bytewise: sends its answers byte by byte.
        received: the bytes of each connection.
        requests: every request in the order in which their heads came.
        faults: what h11 refused to read; must stay empty whatever a client sends. A request that ends with its
            connection is none: it is how a body is given up.
    """

    answer: Answer = answer_with_target
    early: bool = False
    ends: bool = False
    bytewise: bool = False
    received: list[bytearray] = field(default_factory=list)
    requests: list[Recorded] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    async def serve(self, stream: trio.SocketStream) -> None:
        """Serve one connection of the proxy until either side ends it."""
        received = bytearray()
        self.received.append(received)
        read = 0  # bytes of `received` that belong to requests that have ended
        parser = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
        current: Recorded | None = None
        ended = False
        try:
            while True:
                match parser.next_event():
                    case h11.NEED_DATA:
                        data = await stream.receive_some(65536)
                        received += data
                        parser.receive_data(data)
                        ended = not data
                        if ended and current is None:
                            return
                    case h11.Request() as request:
                        raw_head = bytes(received[read : received.index(b"\r\n\r\n", read)])
                        current = Recorded(raw_head=raw_head, request=request)
                        self.requests.append(current)
                        if self.early and not await self._reply(stream, current):
                            return
                    case h11.Data(data=piece):
                        assert current is not None
                        current.body += bytes(piece)
                    case h11.EndOfMessage():
                        assert current is not None
                        current.complete = True
                        if not self.early and not await self._reply(stream, current):
                            return
                        rest = parser.trailing_data[0]
                        read = len(received) - len(rest)
                        parser = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
                        if rest:
                            parser.receive_data(rest)
                        current = None
                    case _:
                        return
        except h11.RemoteProtocolError as error:
            if not ended or current is None:
                self.faults.append(f"{error}: {bytes(received)!r}")
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return
        finally:
            await trio.aclose_forcefully(stream)

    async def _reply(self, stream: trio.SocketStream, recorded: Recorded) -> bool:
        """Send the answer; False when the connection is to end."""
        answer = self.answer(recorded)
        for piece in [answer[place : place + 1] for place in range(len(answer))] if self.bytewise else [answer]:
            await stream.send_all(piece)
            await trio.lowlevel.checkpoint()
        return bool(answer) and not self.ends


@asynccontextmanager
async def open_recording_backend(
    backend: RecordingBackend | None = None,
) -> AsyncIterator[tuple[RecordingBackend, TcpAddress]]:
    """Listen on a port of the kernel's choice while the block runs."""
    backend = backend or RecordingBackend()
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, backend.serve, listeners)
        port = listeners[0].socket.getsockname()[1]
        yield backend, TcpAddress("127.0.0.1", port)
        nursery.cancel_scope.cancel()
