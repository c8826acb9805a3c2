"""The seam between an exchange and the protocol its client speaks: HTTP/1.x, or one stream of HTTP/2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

from hotswap.edge.upstream.carrier import Answering

if TYPE_CHECKING:
    from hotswap.core.messages import ResponseHead
    from hotswap.edge.loop.stream import Data
    from hotswap.edge.upstream.upstream_connection import UpstreamConnection


Answered = TypeVar("Answered", contravariant=True)
"""What is answered: `Exchange`, which has a responder and is not known to it here."""


class Responder(Answering, Protocol[Answered]):
    """The client's side of one exchange."""

    @property
    def backed_up(self) -> bool:
        """Whether the client takes no more for now."""

    def send_interim(self, exchange: Answered, head: ResponseHead) -> None:
        """Pass on an informational response."""

    def send_response(self, exchange: Answered, head: ResponseHead) -> bool:
        """Send a response that is whole, its body with it. False when the client is gone."""

    def send_head(self, exchange: Answered, head: ResponseHead) -> None:
        """Begin the response; goes out with the next `flush`."""

    def send_body(self, data: Data) -> None:
        """Go on with it; a view is used up by the next `flush`."""

    def send_end(self) -> None:
        """The response is whole."""

    def flush(self) -> bool:
        """Send what has been said. False when the client is gone."""

    def done(self, exchange: Answered) -> None:
        """The exchange is over and its response whole."""

    def truncate(self, exchange: Answered) -> None:
        """The exchange is over and its response is not whole, which the client must be able to see."""

    def read_on(self) -> None:
        """The exchange takes more of the request's body."""

    def tunnel(self, exchange: Answered, head: ResponseHead, connection: UpstreamConnection) -> bool:
        """Turn into a tunnel after this 101. False where the protocol has none."""
