"""One connection to the admin API: HTTP/1.1 by h11, one exchange after the other.

Whatever a client sends, or does not send or read, costs this connection and no other: heads and bodies are bounded and
have deadlines, what breaks the protocol is answered 400 and ends the connection, and what the other side offers to
upgrade to is ignored (RFC 9110 7.8).
"""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from email.utils import formatdate
from typing import Final

import h11
import trio
from structlog.typing import FilteringBoundLogger

from hotswap.control.admin.application import Application
from hotswap.control.admin.messages import AdminRequest, AdminResponse, parse_request
from hotswap.control.admin.problems import problem

MOST_HEAD: Final = 16 * 1024
"""Bytes that a head may have."""
READ: Final = 16 * 1024
"""Bytes that are read at a time."""

IDLE_TIMEOUT: Final = 30.0
"""Seconds that a connection may rest between two requests."""
REQUEST_TIMEOUT: Final = 10.0
"""Seconds from the first byte of a request to its last."""
SEND_TIMEOUT: Final = 30.0
"""Seconds that a client may take to read a piece of an answer."""

ON_ITS_WAY: Final = 0.1
"""Seconds that a connection stays open when all are to be closed, for a request that its client has sent already."""
FIRST_ON_ITS_WAY: Final = 1.0
"""The same of a connection over which nothing has come yet: whoever has just made it is about to ask."""

STALLED: Final = 5.0
"""Seconds after which a client that does not read its answer counts as one that has left without a word."""

LINGER: Final = 1.0
"""Seconds, at most, in which a refused body is read and thrown away, so that the client gets to read the refusal."""
MOST_LINGERING: Final = 1 << 20
"""Bytes of it, at most."""

ALWAYS: Final = (
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Referrer-Policy", "no-referrer"),
)
"""Fields of every answer: it is the state of a moment, is what it says it is, and no page of others may embed it."""


class AdminConnection:
    """One accepted connection, from the first byte to the last.

    Attributes:
        asked: something has come over it.
    """

    def __init__(
        self, stream: trio.SocketStream, application: Application, log: FilteringBoundLogger, *, parting: trio.Event
    ) -> None:
        """Serve a stream, which this owns from here on.

        Args:
            parting: set when idle connections are to be closed, and the others after the answer under way.
        """
        self.asked = False
        self._stream = stream
        self._application = application
        self._log = log
        self._parting = parting
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MOST_HEAD)
        self._heard = trio.current_time()
        self._asks = False
        self._sending: float | None = None
        own = stream.socket.getsockname()
        self._address = str(own[0]) if stream.socket.family != socket.AF_UNIX else None

    def silent_since(self) -> float | None:
        """Since when nobody waits for us over it: no whole request has come, or its answer is not read."""
        if self._sending is not None and trio.current_time() - self._sending > STALLED:
            return self._sending
        return None if self._asks else self._heard

    def evict(self) -> None:
        """Close it at once, whatever it does."""
        self._stream.socket.close()

    async def serve(self) -> None:
        """Serve until either side closes; nothing but cancellation leaves this function, and the stream is closed."""
        try:
            while await self._serve_request():
                pass
        except* (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
            pass  # the client is gone, or does not read
        except* Exception as error:
            self._log.warning("admin.connection_failed", error=repr(error), exc_info=error)
        finally:
            self._stream.socket.close()

    # One request

    async def _serve_request(self) -> bool:
        """Answer one; whether another one may follow."""
        try:
            head = await self._next_head()
        except h11.RemoteProtocolError as error:
            await self._refuse(error)
            return False
        if head is None:
            return False
        self._asks = True
        request = parse_request(head.method, head.target, list(head.headers), address=self._address)
        if not head.target.startswith(b"/"):
            response = problem(400, "bad-request", "the target of a request begins with a slash")
        else:
            response = await self._answer(request)
        await self._send(response, head_only=request.method == "HEAD")
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            await self._linger()
            return False
        self._http.start_next_cycle()
        self._asks = False
        return True

    async def _next_head(self) -> h11.Request | None:
        """Wait for the head of a request; None when none will come.

        Raises:
            h11.RemoteProtocolError: what came is none.
        """
        event = self._http.next_event()
        if event is h11.NEED_DATA and not self._http.trailing_data[0]:
            self._http.receive_data(await self._first_bytes())
            event = self._http.next_event()
        self.asked = True
        with trio.fail_after(REQUEST_TIMEOUT):
            while event is h11.NEED_DATA:
                self._http.receive_data(await self._stream.receive_some(READ))
                event = self._http.next_event()
        return event if isinstance(event, h11.Request) else None

    async def _first_bytes(self) -> bytes:
        """Wait for the beginning of a request; nothing when the client leaves, is silent, or all are to be closed."""
        got = b""
        with trio.move_on_after(IDLE_TIMEOUT) as patience:
            async with trio.open_nursery() as nursery:

                async def part() -> None:
                    await self._parting.wait()
                    patience.deadline = trio.current_time() + (ON_ITS_WAY if self.asked else FIRST_ON_ITS_WAY)

                nursery.start_soon(part)
                got = bytes(await self._stream.receive_some(READ))
                nursery.cancel_scope.cancel()
        return got

    async def _answer(self, request: AdminRequest) -> AdminResponse:
        """Take the body, which few calls read, and have the request answered."""
        refused = self._application.judge(request)
        if refused is not None:
            return refused
        try:
            with trio.fail_after(REQUEST_TIMEOUT):
                body = await self._take_body(keep=self._application.reads_body(request))
        except h11.RemoteProtocolError as error:
            return _bad_request(error)
        return await self._application.answer(replace(request, body=body) if body else request)

    async def _take_body(self, *, keep: bool) -> bytes:
        body = bytearray()
        if self._http.they_are_waiting_for_100_continue:
            await self._write(h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue"))
        while not isinstance(event := self._http.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                self._http.receive_data(await self._stream.receive_some(READ))
            elif isinstance(event, h11.ConnectionClosed):
                raise trio.BrokenResourceError("the client has left within a body")
            elif keep and isinstance(event, h11.Data):
                body += event.data
        return bytes(body)

    # The answer

    async def _send(self, response: AdminResponse, *, head_only: bool = False) -> None:
        body = response.body
        fields = [("Content-Type", response.media_type), ("Date", formatdate(usegmt=True)), *response.fields.items()]
        fields += ALWAYS
        if isinstance(body, bytes):
            fields.append(("Content-Length", str(len(body))))
        if self._parting.is_set() or not isinstance(body, bytes) or self._http.their_state is not h11.DONE:
            fields.append(("Connection", "close"))
        head = h11.Response(status_code=response.status, headers=fields, reason=b"")
        if isinstance(body, bytes):
            await self._write(head, h11.Data(data=b"" if head_only else body), h11.EndOfMessage())
        else:
            await self._write(head)
            await self._stream_out(body)

    async def _stream_out(self, pieces: AsyncGenerator[bytes, None]) -> None:
        """Send pieces until there are no more or the client leaves."""
        async with trio.open_nursery() as nursery:

            async def watch() -> None:
                # A client that still sends is of no interest; one that has closed its side wants no more.
                while await self._stream.receive_some(READ):
                    pass
                nursery.cancel_scope.cancel()

            nursery.start_soon(watch)
            async with aclosing(pieces):
                async for piece in pieces:
                    await self._write(h11.Data(data=piece))
                await self._write(h11.EndOfMessage())
            nursery.cancel_scope.cancel()

    async def _refuse(self, error: h11.RemoteProtocolError) -> None:
        """Answer what is no request, if that can still be done."""
        if self._http.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            await self._send(_bad_request(error))
            await self._linger()

    async def _write(self, *events: h11.Event) -> None:
        data = b"".join(filter(None, map(self._http.send, events)))
        if not data:
            return
        self._sending = trio.current_time()
        try:
            with trio.fail_after(SEND_TIMEOUT):
                await self._stream.send_all(data)
        finally:
            self._heard, self._sending = trio.current_time(), None

    async def _linger(self) -> None:
        """Read what still comes for a moment: closing at once would reset the answer away."""
        await self._stream.send_eof()
        left = MOST_LINGERING
        with trio.move_on_after(LINGER):
            while left > 0 and (data := await self._stream.receive_some(READ)):
                left -= len(data)


def _bad_request(error: h11.RemoteProtocolError) -> AdminResponse:
    """Say what is wrong with a request, in h11's words, which have nothing of the request in them."""
    status = error.error_status_hint if error.error_status_hint in {400, 431, 501} else 400
    return problem(status, "bad-request", f"this is no request of HTTP/1.1: {str(error)[:200]}")
