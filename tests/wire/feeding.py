"""Feed a request parser, and put what comes out into a form that can be compared."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from hotswap.core.errors import BadRequest
from hotswap.core.http.messages import RequestHead
from hotswap.wire.http1.request_parser import End, RequestItem, RequestParser


@dataclass(slots=True)
class Message:
    """One request as it came out: its head, its body in one piece, and whether it ended."""

    head: RequestHead
    body: bytes = b""
    complete: bool = False


@dataclass(slots=True)
class Reading:
    """Everything a parser made of some bytes."""

    messages: list[Message] = field(default_factory=list)
    error: BadRequest | None = None

    def take(self, items: Iterable[RequestItem]) -> None:
        """Add what `feed` gave; fails when the items are in an order that no caller expects."""
        for item in items:
            if isinstance(item, RequestHead):
                assert not self.messages or self.messages[-1].complete, "a head inside a message"
                self.messages.append(Message(head=item, complete=item.complete))
                continue
            message = self.messages[-1]
            assert not message.complete, "an item behind the end of its message"
            if isinstance(item, End):
                message.complete = True
            else:
                message.body += bytes(item)


def read_requests(pieces: Iterable[bytes]) -> Reading:
    """Feed a new parser piece by piece, with the limits of the contract, until it fails or the pieces end.

    An upgrade is never taken: the parser goes on with HTTP.
    """
    parser = RequestParser(header_bytes=64 * 1024, headers=100)
    reading = Reading()
    for piece in pieces:
        reading.take(parser.feed(piece))
        while parser.error is None and parser.upgraded is not None:
            reading.take(parser.resume_http())
        if parser.error is not None:
            break
    reading.error = parser.error
    return reading


def cut(data: bytes) -> list[bytes]:
    """Cut bytes into single ones; long inputs into pieces that keep a test short."""
    step = 1 if len(data) < 20_000 else 997
    return [data[start : start + step] for start in range(0, len(data), step)]
