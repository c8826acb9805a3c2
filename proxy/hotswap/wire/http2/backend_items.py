"""What comes out of an HTTP/2 connection to a backend, in the order in which each stream had it."""

from __future__ import annotations

from dataclasses import dataclass

from hotswap.core.messages import Field, ResponseHead


@dataclass(frozen=True, slots=True)
class Responded:
    """A response begins, or an informational one came."""

    stream_id: int
    head: ResponseHead


@dataclass(frozen=True, slots=True)
class Body:
    """What one read had of a response's body; to be credited once it has gone on."""

    stream_id: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Ended:
    """A response is whole."""

    stream_id: int


@dataclass(frozen=True, slots=True)
class Opened:
    """The backend takes more: on one stream, or, with stream 0, on any."""

    stream_id: int


@dataclass(frozen=True, slots=True)
class Trailed:
    """The fields behind a response's body; its end follows."""

    stream_id: int
    fields: list[Field]


@dataclass(frozen=True, slots=True)
class Lost:
    """A stream is gone. `processed` is false where the backend says that it did not begin with the request; `answered`
    is true where it had begun to answer, in whatever way."""

    stream_id: int
    detail: str
    processed: bool = True
    answered: bool = False


@dataclass(frozen=True, slots=True)
class Leaving:
    """The backend takes no new streams here; those above `last` it did not begin with."""

    last: int
    stream_id: int = 0


Item = Responded | Body | Trailed | Ended | Lost | Opened | Leaving
