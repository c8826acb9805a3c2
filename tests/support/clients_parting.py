"""Clients that part in order, over HTTP/1.1 and HTTP/2, so that every reset the kernel counts is the proxy's.

Those over HTTP/2 understand a GOAWAY: streams that were begun before it go on, new ones go elsewhere. The h2 library
does not: to it a connection is over with the first GOAWAY, whatever it said, so these read frame by frame. A stream
that the proxy does not finish is a failure here, whatever the protocol would allow a client to try again: one that was
refused, reset, or left out by the last word of a GOAWAY is counted as a reset.
"""

from __future__ import annotations

import select
import ssl
from collections.abc import Sequence
from dataclasses import dataclass

import trio
from hyperframe.frame import GoAwayFrame, PingFrame, RstStreamFrame, SettingsFrame

from tests.support.client import Connection, Target, connect, hang_up
from tests.support.clients import Client, FreshGet, FreshPost, KeptGet, KeptPost
from tests.support.http2_frames import PREFACE, FrameReader, FrameWriter
from tests.support.trouble import BadStatus, Count, CutShort, WrongBody

WINDOW = 1 << 28
"""Bytes that the proxy may send without a word of ours, more than any connection here carries."""

INITIAL_WINDOW = 4
"""The setting that says how much it may send on one stream."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request of a turn."""

    path: str
    body: bytes | None = None


class Http2Connection:
    """One connection, and every stream on it.

    Attributes:
        leaving: the proxy has sent a GOAWAY, or is gone: nothing new belongs here.
    """

    def __init__(self, target: Target, stream: trio.abc.Stream, below: trio.SocketStream) -> None:
        self._target = target
        self._stream = stream
        self._below = below
        self._write = FrameWriter()
        self._read = FrameReader()
        self._next = 1
        self._open: set[int] = set()
        self._over = False
        self.leaving = False

    @classmethod
    async def open(cls, target: Target) -> Http2Connection:
        """Connect, and say what a client says first."""
        stream, below = await connect(target)
        connection = cls(target, stream, below)
        if isinstance(stream, trio.SSLStream):
            assert stream.selected_alpn_protocol() == "h2"
        greeting = connection._write.settings({INITIAL_WINDOW: WINDOW}) + connection._write.window(0, WINDOW)
        await stream.send_all(PREFACE + greeting)
        return connection

    def close(self) -> None:
        """Hang up at once."""
        self._below.socket.close()

    async def part(self) -> None:
        """Hang up in order."""
        await hang_up(self._below)

    async def look(self) -> None:
        """Take in what has come since the last turn."""
        while not self._over and select.select([self._below.socket.fileno()], [], [], 0)[0]:
            # What is readable may be nothing to the reader, such as tickets of TLS.
            with trio.move_on_after(0.05):
                await self._take()
                continue
            return

    async def ask(self, requests: Sequence[Ask]) -> list[bytes]:
        """Send requests, all at once, and give the bodies of their answers.

        Raises:
            CutShort: a stream was refused, reset or left out.
            BadStatus: an answer has another status than 200.
        """
        numbers, data = [], b""
        for request in requests:
            number, self._next = self._next, self._next + 2
            numbers.append(number)
            fields = [
                (b":method", b"GET" if request.body is None else b"POST"),
                (b":scheme", b"http" if self._target.tls is None else b"https"),
                (b":authority", self._target.host.encode()),
                (b":path", request.path.encode()),
            ]
            if request.body is not None:
                fields.append((b"content-type", b"application/json"))
            data += self._write.headers(number, fields, end=request.body is None)
            if request.body is not None:
                data += self._write.data(number, request.body, end=True)
        self._open.update(numbers)
        await self._stream.send_all(data)
        while not self._open.isdisjoint(numbers):
            if self._over:
                raise CutShort(f"the connection ended with the streams {sorted(self._open)} open")
            await self._take()
        bodies = []
        for number in numbers:
            status = int(dict(self._read.fields[number][-1])[b":status"])
            body = bytes(self._read.bodies.pop(number, b""))
            if status != 200:
                raise BadStatus(status, body)
            bodies.append(body)
        return bodies

    async def _take(self) -> None:
        data = bytes(await self._stream.receive_some(65536))
        if not data:
            self._over = self.leaving = True
            return
        reply = b""
        for frame in self._read.feed(data):
            if "END_STREAM" in frame.flags:
                self._open.discard(frame.stream_id)
            match frame:
                case SettingsFrame() if "ACK" not in frame.flags:
                    reply += SettingsFrame(0, flags=["ACK"]).serialize()
                case PingFrame() if "ACK" not in frame.flags:
                    reply += PingFrame(0, frame.opaque_data, flags=["ACK"]).serialize()
                case RstStreamFrame() if frame.stream_id in self._open:
                    raise CutShort(f"stream {frame.stream_id} was reset with code {frame.error_code}")
                case GoAwayFrame():
                    self.leaving = True
                    lost = [number for number in self._open if number > frame.last_stream_id]
                    if lost or frame.error_code:
                        raise CutShort(f"GOAWAY {frame.error_code}, and the streams {lost} are not served")
        if reply:
            await self._stream.send_all(reply)


class _Parting(Client):
    """Ends connections of HTTP/1.1 in order."""

    pace = 0.1

    async def part(self) -> None:
        """End the connection that there is."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.part()

    async def fresh(self) -> Connection:
        """A connection that nobody used before."""
        await self.part()
        return await super().fresh()


class PartingGet(_Parting, FreshGet):
    """GET over a new connection each time."""

    async def turn(self) -> None:
        """Ask who answers."""
        await self._get(await self.fresh())
        await self.part()


class PartingPost(_Parting, FreshPost):
    """POST of an id that must be recorded exactly once, over a new connection each time."""

    async def turn(self) -> None:
        """Enter one id into the ledger."""
        await self._post(await self.fresh())
        await self.part()


class PartingKeptGet(_Parting, KeptGet):
    """GET over one connection as long as it lives."""


class PartingKeptPost(_Parting, KeptPost):
    """POST of an id that must be recorded exactly once, over one connection as long as it lives."""


class GoawayClient(Client):
    """A client over HTTP/2; where the target has TLS, the protocol is chosen in its handshake."""

    def __init__(self, target: Target, count: Count, *, name: str) -> None:
        super().__init__(_speaking_http2(target), count, name=name)
        self._http2: Http2Connection | None = None

    def abandon(self) -> None:
        """Give up the connection, whatever state it is in."""
        if self._http2 is not None:
            self._http2.close()
            self._http2 = None

    async def part(self) -> None:
        """End the connection in order."""
        if self._http2 is not None:
            await self._http2.part()
            self._http2 = None

    async def fresh_http2(self) -> Http2Connection:
        """A connection that nobody used before."""
        await self.part()
        self._http2 = await Http2Connection.open(self.target)
        self.count.connections += 1
        return self._http2

    async def kept_http2(self) -> Http2Connection:
        """The connection of the last turn, or a fresh one when the proxy has said that it ends."""
        if self._http2 is None:
            return await self.fresh_http2()
        await self._http2.look()
        if self._http2.leaving:
            self.count.announced += 1
            return await self.fresh_http2()
        return self._http2

    def entry(self) -> tuple[str, bytes]:
        """An id for the ledger, and the body that enters it."""
        identity = f"{self.name}-{self.turns}"
        self.turns += 1
        self.count.sent.append(identity)
        return identity, b'{"id": "%b"}' % identity.encode()

    def acknowledge(self, identity: str, answer: bytes) -> None:
        """Note that it was entered once."""
        self.expect_json(answer, id=identity, count=1)
        self.count.acknowledged.append(identity)


class Http2Fresh(GoawayClient):
    """A connection for each turn, with two streams side by side."""

    kind = "fresh http/2"
    pace = 0.1

    async def turn(self) -> None:
        """Ask who answers, and enter one id."""
        began = trio.current_time()
        connection = await self.fresh_http2()
        identity, entry = self.entry()
        who, answer = await connection.ask([Ask(path="/whoami"), Ask(path="/ledger", body=entry)])
        self.expect_json(who)
        self.acknowledge(identity, answer)
        self.measure(began)
        await self.part()


class Http2Kept(GoawayClient):
    """One connection as long as it lives; in each turn two short streams beside one that takes `seconds`."""

    kind = "kept http/2"
    lines = 512
    seconds = 0.3

    async def turn(self) -> None:
        """Ask who answers, enter one id, and download a stream."""
        connection = await self.kept_http2()
        began = trio.current_time()
        identity, entry = self.entry()
        stream = Ask(path=f"/stream?lines={self.lines}&seconds={self.seconds}&parts=6")
        requests = [stream, Ask(path="/whoami"), Ask(path="/ledger", body=entry)]
        download, who, answer = await connection.ask(requests)
        if download != b"".join(b"%015d\n" % number for number in range(self.lines)):
            raise WrongBody(f"{len(download)} bytes of a download")
        self.expect_json(who)
        self.acknowledge(identity, answer)
        self.measure(began)


def _speaking_http2(target: Target) -> Target:
    if target.tls is None:
        return target
    context = ssl.create_default_context(cadata=b"".join(target.tls.get_ca_certs(binary_form=True)))
    context.set_alpn_protocols(["h2"])
    return Target(address=target.address, tls=context, host=target.host)


PARTING_KINDS: tuple[type[Client], ...] = (
    PartingGet,
    PartingPost,
    PartingKeptGet,
    PartingKeptPost,
    Http2Fresh,
    Http2Kept,
)
"""All of them."""
