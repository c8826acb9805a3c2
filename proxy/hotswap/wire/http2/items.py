"""Events of an HTTP/2 connection, in the order in which each stream had them.

They are not frozen, because there is one for each frame or so, and freezing triples what one costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from hotswap.core.errors import BadRequest
from hotswap.core.messages import Field, RequestHead, ResponseHead

Line = tuple[bytes, bytes, int]
NO_LINE: Final[Line] = (b"", b"", 0)


@dataclass(slots=True)
class Body:
    """What one read had of a stream's body; to be credited once it has gone on."""

    stream_id: int
    data: bytes


@dataclass(slots=True)
class Ended:
    """A message is complete; of a request, with the fields that came behind its body."""

    stream_id: int
    trailers: Sequence[Field] = ()


@dataclass(slots=True)
class Opened:
    """The peer takes more: on one stream, or, with stream 0, on any."""

    stream_id: int


# From a client.


@dataclass(slots=True)
class Begun:
    """A request came."""

    stream_id: int
    head: RequestHead


@dataclass(slots=True)
class RequestRefused:
    """A request came that is to be answered with the error's status, and goes no further.

    `line` is its method, target and version, as the log is told.
    """

    stream_id: int
    error: BadRequest
    line: Line


@dataclass(slots=True)
class Reset:
    """A stream is gone: the client reset it, or broke a rule and was told.

    `line` tells of the request when it was none that could be begun.
    """

    stream_id: int
    detail: str
    line: Line = NO_LINE


@dataclass(slots=True)
class Answered:
    """The ping of `Http2Session.begin_goaway` came back."""


Item = Begun | RequestRefused | Body | Ended | Reset | Opened | Answered


# From a backend.


@dataclass(slots=True)
class Responded:
    """A response begins, or an informational one came."""

    stream_id: int
    head: ResponseHead


@dataclass(slots=True)
class Trailed:
    """The fields behind a response's body; its end follows."""

    stream_id: int
    fields: list[Field]


@dataclass(slots=True)
class Lost:
    """A stream is gone. `processed` is false where the backend says that it did not begin with the request; `answered`
    is true where it had begun to answer, in whatever way."""

    stream_id: int
    detail: str
    processed: bool = True
    answered: bool = False


@dataclass(slots=True)
class BackendLeaving:
    """The backend takes no new streams here; those above `last` it did not begin with."""

    last: int
    stream_id: int = 0


BackendItem = Responded | Body | Trailed | Ended | Lost | Opened | BackendLeaving
