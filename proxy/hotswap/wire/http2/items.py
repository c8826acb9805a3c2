"""Events of an HTTP/2 connection, in the order in which each stream had them.

They are not frozen, because there is one for each frame or so, and freezing triples what one costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from hotswap.core.errors import BadRequest
from hotswap.core.http.messages import Field, RequestHead, ResponseHead

Line = tuple[bytes, bytes, int]
NO_LINE: Final[Line] = (b"", b"", 0)


@dataclass(slots=True)
class Body:
    """Bytes of a stream's body from one read; to be credited once they are forwarded."""

    stream_id: int
    data: bytes


@dataclass(slots=True)
class Ended:
    """END_STREAM of the peer; for a request, with its trailers."""

    stream_id: int
    trailers: Sequence[Field] = ()


@dataclass(slots=True)
class Opened:
    """The peer opened the window of a stream, or, with stream 0, that of the connection."""

    stream_id: int


# From a client.


@dataclass(slots=True)
class Begun:
    """A request head arrived."""

    stream_id: int
    head: RequestHead


@dataclass(slots=True)
class RequestRefused:
    """A request arrived that is answered with the error's status and not forwarded.

    `line` is its method, target and version, as the log is told; `accept` what it accepts, empty where it does not say.
    """

    stream_id: int
    error: BadRequest
    line: Line
    accept: bytes = b""


@dataclass(slots=True)
class Reset:
    """The client reset a stream, or broke a rule and its stream was reset.

    `line` tells of the request when it was none that could be begun.
    """

    stream_id: int
    detail: str
    line: Line = NO_LINE


@dataclass(slots=True)
class Answered:
    """The client acknowledged the ping of `Http2Session.begin_goaway`."""


Item = Begun | RequestRefused | Body | Ended | Reset | Opened | Answered


# From a backend.


@dataclass(slots=True)
class Responded:
    """A response head arrived, final or interim."""

    stream_id: int
    head: ResponseHead


@dataclass(slots=True)
class Trailed:
    """The trailers of a response arrived; its end follows."""

    stream_id: int
    fields: list[Field]


@dataclass(slots=True)
class Lost:
    """A stream ended without a whole response.

    `processed` is false where the backend says that it did not begin with the request; `answered` is true where it had
    begun to answer, in whatever way.
    """

    stream_id: int
    detail: str
    processed: bool = True
    answered: bool = False


@dataclass(slots=True)
class BackendLeaving:
    """GOAWAY of the backend: it takes no new streams and did not process those above `last`."""

    last: int
    stream_id: int = 0


BackendItem = Responded | Body | Trailed | Ended | Lost | Opened | BackendLeaving
