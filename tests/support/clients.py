"""Clients of the demo app, one class for each way of using it; `tests.support.load` lets them loop.

A client's `turn` is one exchange (or one session of several) and raises when anything at all is not as it
should be. Delays are measured where it is the other side's turn: from the end of the request to the end of
the answer, or from one piece of a stream to the next; a session that is slow by intent is not a slow answer.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod

import trio
from websockets.trio.client import connect as connect_websocket

from tests.support.client import Connection, Target, connect
from tests.support.client_http2 import Http2Connection
from tests.support.trouble import BadStatus, Count, Delay, WrongBody

PIECE = 8 * 1024
"""Bytes of a piece of an upload."""

LINE = 16
"""Bytes of a line of the demo's stream: its number from 0 in 15 digits, and a line feed."""


class Client(ABC):
    """One client in a loop.

    Attributes:
        kind: What the reports call it.
        pace: Seconds of rest between two turns.
    """

    kind = ""
    pace = 0.04

    def __init__(self, target: Target, count: Count, *, name: str) -> None:
        self.target = target
        self.count = count
        self.name = name
        self.turns = 0
        self._connection: Connection | None = None

    @abstractmethod
    async def turn(self) -> None:
        """Use the app once."""

    async def leave(self) -> None:
        """End what is open; nothing is under way."""
        self.abandon()

    def abandon(self) -> None:
        """Give up the connection, whatever state it is in."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def fresh(self) -> Connection:
        """A connection that nobody used before; it replaces the one there was."""
        self.abandon()
        self._connection = await (Http2Connection if self.target.http2 else Connection).open(self.target)
        self.count.connections += 1
        return self._connection

    async def kept(self) -> Connection:
        """The connection of the last turn, or a fresh one where the protocol let it end in order."""
        connection = self._connection
        if connection is None:
            return await self.fresh()
        if not connection.reusable:
            self.count.announced += 1
            return await self.fresh()
        if await connection.ended():
            self.count.ended += 1
            return await self.fresh()
        return connection

    def measure(self, began: float) -> float:
        """Record the delay from `began` to now, and return now."""
        now = trio.current_time()
        self.count.delays.append(Delay(began, now - began))
        return now

    def expect_json(self, body: bytes, **expected: object) -> dict[str, object]:
        """The body as a JSON object that has these members.

        Raises:
            WrongBody: It is not, or has not.
        """
        try:
            value = json.loads(body)
        except ValueError:
            raise WrongBody(f"no JSON: {body[:200]!r}") from None
        if not isinstance(value, dict) or any(value.get(key) != wanted for key, wanted in expected.items()):
            raise WrongBody(f"{value!r} is not {expected!r}")
        return value


class FreshGet(Client):
    """GET over a new connection each time."""

    kind = "fresh get"

    async def turn(self) -> None:
        """Ask who answers."""
        began = trio.current_time()
        connection = await self.fresh()
        await self._get(connection)
        self.measure(began)
        self.abandon()

    async def _get(self, connection: Connection) -> None:
        response = (await connection.request("GET", "/whoami")).expect()
        value = self.expect_json(response.body)
        if not {"pid", "slot", "generation", "release"} <= value.keys():
            raise WrongBody(repr(value))
        if isinstance(value["generation"], int):
            self.count.generations.add(value["generation"])


class KeptGet(FreshGet):
    """GET over one connection as long as it lives."""

    kind = "keep-alive get"

    async def turn(self) -> None:
        """Ask who answers."""
        connection = await self.kept()
        began = trio.current_time()
        await self._get(connection)
        self.measure(began)


class FreshPost(Client):
    """POST of an id that must be recorded exactly once, over a new connection each time."""

    kind = "fresh post"

    async def turn(self) -> None:
        """Enter one id into the ledger."""
        began = trio.current_time()
        connection = await self.fresh()
        await self._post(connection)
        self.measure(began)
        self.abandon()

    async def _post(self, connection: Connection) -> None:
        identity = f"{self.name}-{self.turns}"
        self.turns += 1
        self.count.sent.append(identity)
        body = json.dumps({"id": identity}).encode()
        headers = [("Content-Type", "application/json")]
        response = (await connection.request("POST", "/ledger", body=body, headers=headers)).expect()
        self.expect_json(response.body, id=identity, count=1)
        self.count.acknowledged.append(identity)


class KeptPost(FreshPost):
    """POST of an id that must be recorded exactly once, over one connection as long as it lives."""

    kind = "keep-alive post"

    async def turn(self) -> None:
        """Enter one id into the ledger."""
        connection = await self.kept()
        began = trio.current_time()
        await self._post(connection)
        self.measure(began)


class SlowUpload(Client):
    """An upload that takes `seconds`, counted and chunked in turn."""

    kind = "slow upload"
    pieces = 16
    seconds = 0.6

    async def turn(self) -> None:
        """Upload pieces of what nobody can guess, and check that all of it arrived."""
        self.turns += 1
        connection = await self.kept()
        digest = hashlib.sha256()
        size = self.pieces * PIECE
        framing = ("Content-Length", str(size)) if self.turns % 2 else ("Transfer-Encoding", "chunked")
        await connection.send_head("POST", "/upload", headers=[framing])
        for number in range(self.pieces):
            piece = hashlib.sha256(f"{self.name}-{self.turns}-{number}".encode()).digest() * (PIECE // 32)
            digest.update(piece)
            try:
                await connection.send_body(piece)
            except trio.BrokenResourceError:
                # Refused before the end: the answer says why, if there is one.
                (status, _), body = await connection.head(), await connection.body()
                raise BadStatus(status, body) from None
            await trio.sleep(self.seconds / self.pieces)
        began = trio.current_time()
        await connection.send_end()
        status, _ = await connection.head()
        body = await connection.body()
        self.measure(began)
        _check_status(status, body)
        self.expect_json(body, size=size, sha256=digest.hexdigest())


class SlowDownload(Client):
    """A streamed download that takes `seconds`; every line of it is checked."""

    kind = "slow download"
    lines = 2048
    seconds = 0.6

    async def turn(self) -> None:
        """Download all of it."""
        connection = await self.kept()
        began = trio.current_time()
        await connection.send_head("GET", f"/stream?lines={self.lines}&seconds={self.seconds}&parts=12")
        await connection.send_end()
        status, _ = await connection.head()
        began = self.measure(began)
        received = bytearray()
        async for piece in connection.pieces():
            began = self.measure(began)
            received += piece
        _check_status(status, received)
        if received != b"".join(b"%015d\n" % number for number in range(self.lines)):
            raise WrongBody(f"{len(received)} bytes, of {self.lines * LINE} that were due")


class Events(Client):
    """Server-sent events; each stream ends by itself and the next goes on behind its last event."""

    kind = "server-sent events"
    events = 8
    interval = 0.075

    async def turn(self) -> None:
        """Read one stream to its end."""
        connection = await self.kept()
        began = trio.current_time()
        headers = [("Accept", "text/event-stream")]
        if self.turns:
            headers.append(("Last-Event-ID", str(self.turns)))
        await connection.send_head("GET", f"/events?count={self.events}&interval={self.interval}", headers=headers)
        await connection.send_end()
        status, _ = await connection.head()
        began = self.measure(began)
        text = bytearray()
        async for piece in connection.pieces():
            began = self.measure(began)
            text += piece
        _check_status(status, text)
        numbers = [int(line[4:]) for line in text.decode().splitlines() if line.startswith("id: ")]
        if numbers != list(range(self.turns + 1, self.turns + 1 + self.events)):
            raise WrongBody(f"events {numbers} behind event {self.turns}")
        self.turns = numbers[-1]


class WebSocket(Client):
    """A WebSocket session: some messages there and back, then a close by the client."""

    kind = "websocket"
    messages = 8
    interval = 0.075

    async def turn(self) -> None:
        """Open a session, have every message echoed, close it."""
        self.turns += 1
        began = trio.current_time()
        stream, _ = await connect(self.target)
        self.count.connections += 1
        url = f"ws://{self.target.host}/ws"
        try:
            async with connect_websocket(url, stream=stream, proxy=None, compression=None) as session:
                began = self.measure(began)
                for number in range(self.messages):
                    message: str | bytes = f"{self.name} {self.turns} {number}"
                    if number % 2:
                        message = str(message).encode() * 500
                    began = trio.current_time()
                    await session.send(message)
                    echo = await session.recv()
                    self.measure(began)
                    if echo != message:
                        raise WrongBody(f"{echo[:100]!r} is not the echo of {message[:100]!r}")
                    await trio.sleep(self.interval)
                await session.aclose()
                if session.close_code != 1000:
                    raise WrongBody(f"closed with {session.close_code}")
        finally:
            await trio.aclose_forcefully(stream)


def _check_status(status: int, body: bytes | bytearray) -> None:
    if status != 200:
        raise BadStatus(status, bytes(body))


EVERY_KIND: tuple[type[Client], ...] = (
    FreshGet,
    KeptGet,
    FreshPost,
    KeptPost,
    SlowUpload,
    SlowDownload,
    Events,
    WebSocket,
)
"""All of them."""

SHORT_KINDS: tuple[type[Client], ...] = (FreshGet, KeptGet, FreshPost, KeptPost)
"""Those whose every turn is one short exchange."""
