"""Interface between an exchange and the protocol of its client: HTTP/1.x, or one stream of HTTP/2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

from hotswap.edge.upstream.carrier import Answering

if TYPE_CHECKING:
    from hotswap.core.http.messages import ResponseHead
    from hotswap.edge.loop.stream import Data
    from hotswap.edge.upstream.upstream_connection import UpstreamConnection


Answered = TypeVar("Answered", contravariant=True)
"""What is answered: `Exchange`, which has a responder and is not known to it here."""


class Responder(Answering, Protocol[Answered]):
    """Client side of one exchange."""

    @property
    def backed_up(self) -> bool:
        """Whether the client takes nothing now."""

    def send_interim(self, exchange: Answered, head: ResponseHead) -> None:
        """Forward an informational response."""

    def send_response(self, exchange: Answered, head: ResponseHead) -> bool:
        """Send a complete response. False when the client is gone."""

    def send_head(self, exchange: Answered, head: ResponseHead) -> None:
        """Start the response; it is sent by the next `flush`."""

    def send_body(self, data: Data) -> None:
        """Send a piece of the body; a view is valid until the next `flush`."""

    def send_end(self) -> None:
        """End the response."""

    def flush(self) -> bool:
        """Send what is buffered. False when the client is gone."""

    def done(self, exchange: Answered) -> None:
        """The exchange ended with a complete response."""

    def truncate(self, exchange: Answered) -> None:
        """The exchange ended with an incomplete response, which the client must be able to see."""

    def read_on(self) -> None:
        """Resume reading the request body."""

    def tunnel(self, exchange: Answered, head: ResponseHead, connection: UpstreamConnection) -> bool:
        """Become a tunnel after this 101. False if the protocol has none."""
