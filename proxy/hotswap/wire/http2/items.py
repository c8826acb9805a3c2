"""What comes out of an HTTP/2 connection, in the order in which the client said it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from hotswap.core.errors import BadRequest
from hotswap.core.messages import Field, RequestHead

Line = tuple[bytes, bytes, int]
NO_LINE: Final[Line] = (b"", b"", 0)


class Begun:
    """A request came."""

    __slots__ = ("head", "stream_id")

    def __init__(self, stream_id: int, head: RequestHead) -> None:
        self.stream_id = stream_id
        self.head = head


class Refused:
    """A request came that is to be answered with the error's status, and goes no further.

    `line` is its method, target and version, as the log is told.
    """

    __slots__ = ("error", "line", "stream_id")

    def __init__(self, stream_id: int, error: BadRequest, line: Line) -> None:
        self.stream_id = stream_id
        self.error = error
        self.line = line


class Body:
    """A piece of a request's body; to be credited once it has gone on."""

    __slots__ = ("data", "stream_id")

    def __init__(self, stream_id: int, data: bytes) -> None:
        self.stream_id = stream_id
        self.data = data


class Ended:
    """A request's body is complete, with the fields that came behind it."""

    __slots__ = ("stream_id", "trailers")

    def __init__(self, stream_id: int, trailers: Sequence[Field] = ()) -> None:
        self.stream_id = stream_id
        self.trailers = trailers


class Reset:
    """A stream is gone: the client reset it, or broke a rule and was told.

    `line` tells of the request when it was none that could be begun.
    """

    __slots__ = ("detail", "line", "stream_id")

    def __init__(self, stream_id: int, detail: str, line: Line = NO_LINE) -> None:
        self.stream_id = stream_id
        self.detail = detail
        self.line = line


class Opened:
    """The client takes more: on one stream, or, with stream 0, on any."""

    __slots__ = ("stream_id",)

    def __init__(self, stream_id: int) -> None:
        self.stream_id = stream_id


class Answered:
    """The ping of `ping` came back."""

    __slots__ = ()


Item = Begun | Refused | Body | Ended | Reset | Opened | Answered
