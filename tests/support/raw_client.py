"""A client that sends bytes as a test gives them, and reads the answers with h11."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import h11
import trio


@dataclass(slots=True)
class Answered:
    """One response as the client got it; names of fields in lower case."""

    status: int
    version: bytes
    fields: list[tuple[bytes, bytes]]
    body: bytes = b""
    complete: bool = False
    interim: list[int] = field(default_factory=list)

    def named(self, name: bytes) -> list[bytes]:
        """The values of all fields of that lower-case name."""
        return [value for known, value in self.fields if known == name]


def read_answers(data: bytes, methods: Sequence[bytes], *, ended: bool) -> list[Answered]:
    """Read the answers to requests with these methods, which must be all there is.

    Args:
        data: everything the client got.
        methods: of the requests, in order.
        ended: the connection has ended behind the data.
    """
    answers: list[Answered] = []
    for method in methods:
        if not data:
            break
        parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
        parser.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
        parser.send(h11.EndOfMessage())
        parser.receive_data(data)
        if ended:
            parser.receive_data(b"")
        interim: list[int] = []
        answer: Answered | None = None
        try:
            while True:
                match parser.next_event():
                    case h11.InformationalResponse(status_code=status):
                        interim.append(status)
                    case h11.Response() as response:
                        answer = Answered(
                            response.status_code, response.http_version, list(response.headers), interim=interim
                        )
                        answers.append(answer)
                    case h11.Data(data=piece):
                        assert answer is not None
                        answer.body += bytes(piece)
                    case h11.EndOfMessage():
                        assert answer is not None
                        answer.complete = True
                        break
                    case _:
                        return answers
        except h11.RemoteProtocolError:
            assert answer is not None, f"not a response: {data!r}"
            return answers  # cut short
        data = parser.trailing_data[0]
    else:
        assert not data, f"bytes behind the last answer: {data!r}"
    return answers


class RawClient:
    """One connection. `received` grows in the background; `ended` says that the proxy closed its half."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.received = bytearray()
        self.ended = False
        self._changed = trio.Event()

    async def collect(self) -> None:
        """Read until the end."""
        try:
            while data := await self.stream.receive_some(65536):
                self.received += data
                self._tell()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        self.ended = True
        self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def send(self, pieces: Iterable[bytes]) -> None:
        """Send pieces apart, as far as the proxy takes them."""
        try:
            for piece in pieces:
                await self.stream.send_all(piece)
                await trio.lowlevel.checkpoint()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass

    async def wait_end(self) -> None:
        """Wait until the proxy has closed its half."""
        while not self.ended:
            await self._changed.wait()

    async def wait_answers(self, methods: Sequence[bytes]) -> list[Answered]:
        """Wait for whole answers to requests with these methods, or for the end of the connection."""
        while True:
            answers = read_answers(bytes(self.received), methods, ended=self.ended)
            if self.ended or (len(answers) == len(methods) and answers[-1].complete):
                return answers
            await self._changed.wait()

    async def wait_received(self, count: int) -> bytes:
        """Wait for so many bytes, or for the end of the connection."""
        while len(self.received) < count and not self.ended:
            await self._changed.wait()
        return bytes(self.received)


@asynccontextmanager
async def open_client(port: int) -> AsyncIterator[RawClient]:
    """Connect to 127.0.0.1; at the end of the block the connection is closed."""
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    client = RawClient(stream)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.collect)
            try:
                yield client
            finally:
                # No await in here: a cancelled one would take the place of the test's own exception.
                nursery.cancel_scope.cancel()
    finally:
        await trio.aclose_forcefully(stream)
