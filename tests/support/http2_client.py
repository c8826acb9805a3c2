"""A client of HTTP/2 that says frame by frame what a test wants, over the lines of a stage."""

from __future__ import annotations

from collections.abc import Callable

from hyperframe.frame import PingFrame, SettingsFrame, WindowUpdateFrame

from tests.support.http2_frames import GET, PREFACE, Fields, FrameReader, FrameWriter
from tests.support.stage import Line, Stage


class Http2Client:
    """One connection; `read` holds everything that has come.

    `opens` says whether windows are opened again for what is read.
    """

    def __init__(self, line: Line, *, opens: bool = True) -> None:
        self.line = line
        self.write = FrameWriter()
        self.read = FrameReader()
        self.opens = opens
        self.gone = False

    async def greet(self, settings: dict[int, int] | None = None) -> None:
        """Begin, by prior knowledge or after ALPN."""
        await self.send(PREFACE + self.write.settings(settings))

    async def send(self, *frames: bytes) -> None:
        """Send frames in one piece."""
        await self.line.send(b"".join(frames))

    async def request(self, stream_id: int, fields: Fields = GET, body: bytes | None = None) -> None:
        """Send a request, whole."""
        frames = [self.write.headers(stream_id, fields, end=body is None)]
        if body is not None:
            frames.append(self.write.data(stream_id, body, end=True))
        await self.send(*frames)

    async def wait(self, condition: Callable[[], object]) -> None:
        """Read until something holds; fails when the proxy ends the connection before."""
        while not condition():
            assert not self.gone, f"ended with {self.read.frames!r}"
            await self.take()

    async def take(self) -> None:
        """Read what comes next, and answer as a polite client does."""
        data = await self.line.read()
        if not data:
            self.gone = True
            return
        reply = b""
        for frame in self.read.feed(data):
            if isinstance(frame, SettingsFrame) and "ACK" not in frame.flags:
                reply += SettingsFrame(0, flags=["ACK"]).serialize()
            elif isinstance(frame, PingFrame) and "ACK" not in frame.flags:
                reply += PingFrame(0, frame.opaque_data, flags=["ACK"]).serialize()
            elif self.opens and frame.type == 0 and frame.body_len:
                reply += self.write.window(0, frame.body_len) + self.write.window(frame.stream_id, frame.body_len)
        if reply:
            await self.line.send(reply)

    async def wait_end(self, stream_id: int) -> None:
        """Wait until the proxy has ended a stream, in order or not."""
        await self.wait(lambda: self.read.ended(stream_id) or stream_id in self.read.resets())

    async def wait_gone(self) -> None:
        """Wait until the proxy has closed the connection."""
        while not self.gone:
            await self.take()

    def status(self, stream_id: int, number: int = 0) -> int:
        """Of the stream's first, or another, head."""
        return int(dict(self.read.fields[stream_id][number])[b":status"])

    def answer(self, stream_id: int) -> tuple[int, bytes]:
        """Status and body."""
        return self.status(stream_id), bytes(self.read.bodies.get(stream_id, b""))


async def connect_http2(
    stage: Stage, *, settings: dict[int, int] | None = None, opens: bool = True, receive_buffer: int = 0
) -> Http2Client:
    """A client that knows in advance that HTTP/2 is spoken."""
    client = Http2Client(await stage.connect(receive_buffer=receive_buffer), opens=opens)
    await client.greet(settings)
    return client


class Upload:
    """A body that is sent as the stream's window allows; `ends` says whether the stream ends with it."""

    def __init__(self, client: Http2Client, stream_id: int, data: bytes, *, ends: bool = True) -> None:
        self.client = client
        self.stream_id = stream_id
        self.data = data
        self.ends = ends
        self.sent = 0

    @property
    def room(self) -> int:
        """What the window takes now."""
        updates = [frame for frame in self.client.read.frames if isinstance(frame, WindowUpdateFrame)]
        opened = sum(frame.window_increment for frame in updates if frame.stream_id == self.stream_id)
        return 65535 + opened - self.sent

    async def send(self) -> None:
        """Go on until all is sent."""
        while self.sent < len(self.data):
            await self.client.wait(lambda: self.room > 0)
            piece = min(16384, self.room, len(self.data) - self.sent)
            data = self.data[self.sent : self.sent + piece]
            self.sent += piece
            end = self.sent == len(self.data)
            await self.client.send(self.client.write.data(self.stream_id, data, end=end and self.ends))
