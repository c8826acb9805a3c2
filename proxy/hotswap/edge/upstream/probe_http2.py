"""Health probe over HTTP/2: a GET, or, for its path, the health service of gRPC.

gRPC servers know nothing but calls, and reset a GET. For them there is an agreed call, `grpc.health.v1.Health/Check`;
a path of that name is called instead of fetched, and passes when the service says SERVING.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Final

import trio

from hotswap.core.http.messages import Field, ResponseHead
from hotswap.wire.http2.client_session import Http2ClientSession
from hotswap.wire.http2.items import Body, Ended, Lost, Responded, Trailed

if TYPE_CHECKING:
    from hotswap.core.config.pools import HealthTable

GRPC_HEALTH: Final = "/grpc.health.v1.Health/Check"
_EMPTY_MESSAGE: Final = bytes(5)
"""No compression, no bytes: asks about the server as a whole."""
_SERVING: Final = b"\x08\x01"
"""Field 1, value 1, of a HealthCheckResponse."""
_READ_BYTES: Final = 16384
_MAX_ANSWER: Final = 65536


class ProbeFailed(Exception):
    """The probe failed; its text is the detail."""


async def ask_http2(connection: trio.socket.SocketType, health: HealthTable, pool: str) -> int:
    """Probe a backend over a new connection; gives the status.

    Raises:
        ProbeFailed: there is none, or the health service says something else than SERVING.
        OSError: the connection broke.

    **Cancellation**: the caller closes the connection.
    """
    with closing(Http2ClientSession()) as session:
        return await _ask(connection, session, health, pool)


async def _ask(connection: trio.socket.SocketType, session: Http2ClientSession, health: HealthTable, pool: str) -> int:
    call = health.path == GRPC_HEALTH
    fields: list[Field] = [
        (b":method", b"POST" if call else b"GET"),
        (b":scheme", b"http"),
        (b":authority", (health.host or pool).encode("ascii")),
        (b":path", health.path.encode("ascii")),
        (b"user-agent", b"hotswap-probe"),
    ]
    if call:
        fields += [(b"content-type", b"application/grpc"), (b"te", b"trailers")]
        stream_id = session.send_head(fields, end=False)
        session.send_body(stream_id, _EMPTY_MESSAGE)
        session.send_end(stream_id)
    else:
        session.send_head([*fields, (b"accept", b"*/*")], end=True)
    head, said, body = await _receive(connection, session, whole=call)
    session.send_goaway()
    await send_all(connection, session.take_output())
    if call and head.status == 200:
        code = next((value for name, value in said if name == b"grpc-status"), b"missing")
        if code != b"0":
            raise ProbeFailed(f"gRPC status {code[:20].decode('ascii', 'replace')}")
        if body[5:] != _SERVING:
            raise ProbeFailed("the health service does not say SERVING")
    return head.status


async def _receive(
    connection: trio.socket.SocketType, session: Http2ClientSession, *, whole: bool
) -> tuple[ResponseHead, list[Field], bytes]:
    """The head of the answer; if the whole is wanted, all its fields, trailers included, and its body, too."""
    answer: ResponseHead | None = None
    said: list[Field] = []
    body = b""
    while True:
        await send_all(connection, session.take_output())
        data = b""
        if not session.more:
            data = await connection.recv(_READ_BYTES)
            if not data:
                raise ProbeFailed("closed without an answer")
        for item in session.feed(data):
            match item:
                case Responded(head=head) if head.status >= 200:
                    answer = head
                    said += head.fields
                case Body(data=piece):
                    body += piece
                case Trailed(fields=fields):
                    said += fields
                case Lost(detail=detail):
                    raise ProbeFailed(detail)
                case _:
                    pass
            if answer is not None and (not whole or isinstance(item, Ended)):
                return answer, said, body
        if session.error is not None:
            raise ProbeFailed(f"not an answer in HTTP/2: {session.error}")
        if session.more:
            await trio.lowlevel.checkpoint()  # very many small frames: others are to have their turn
        if len(body) > _MAX_ANSWER:
            raise ProbeFailed(f"an answer longer than {_MAX_ANSWER} bytes")


async def send_all(connection: trio.socket.SocketType, data: bytes) -> None:
    """Send everything, however little the socket takes at a time."""
    while data:
        data = data[await connection.send(data) :]
