"""Interfaces through which an exchange sees the data plane, and its client: over HTTP/1.x, or a stream of HTTP/2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

from hotswap.edge.exchange.gate import GatePlane
from hotswap.edge.files.disk_call import FilesPlane
from hotswap.edge.upstream.carrier import Answering

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hotswap.core.http.messages import ResponseHead
    from hotswap.core.http.routing import Router
    from hotswap.edge.exchange.gate import Gate
    from hotswap.edge.exchange.room_maker import RoomMaker
    from hotswap.edge.exchange.route_rules import RouteRules
    from hotswap.edge.loop.stream import Data
    from hotswap.edge.upstream.upstream_connection import UpstreamConnection

Exchanged = TypeVar("Exchanged", contravariant=True)
"""`Exchange`, which has both and is not known to them here."""


class ExchangePlane(GatePlane, FilesPlane, Protocol[Exchanged]):
    """The data plane, as an exchange sees it; see `hotswap.edge.dataplane.DataPlane`.

    Attributes:
        router: the routes of now.
        rules: of each of its routes, by the index; None for one that has none.
        pages: of each pool that has its own: the page of each status that the proxy itself answers.
        gates: by name of their pool.
        room: ends idle connections when descriptors are short.
    """

    router: Router
    rules: Sequence[RouteRules | None]
    pages: Mapping[str, Mapping[int, bytes]]
    gates: dict[str, Gate]
    room: RoomMaker

    @property
    def compressor(self) -> Compressing[Exchanged]:
        """What compresses responses."""

    def record(self, exchange: Exchanged) -> None:
        """Record the end of an exchange."""

    def date(self, head: ResponseHead) -> None:
        """Have a response that does not say when it was made say that it was now (RFC 9110 6.6.1)."""

    def next_request_id(self) -> bytes:
        """A new request id: unique among all proxies, and ascending within one."""


class Compressing(Protocol[Exchanged]):
    """Compressor of responses; see `hotswap.edge.exchange.compressor.Compressor`."""

    def compress(self, exchange: Exchanged, head: ResponseHead) -> None:
        """Have a response compressed if it may be and the client asks for it, and change its head accordingly."""


class Responder(Answering, Protocol[Exchanged]):
    """Client side of one exchange."""

    @property
    def backed_up(self) -> bool:
        """Whether the client takes nothing now."""

    @property
    def behind(self) -> bool:
        """Whether the client has yet to take some of what was sent."""

    def send_interim(self, exchange: Exchanged, head: ResponseHead) -> None:
        """Forward an informational response."""

    def send_response(self, exchange: Exchanged, head: ResponseHead) -> bool:
        """Send a complete response. False when the client is gone."""

    def send_head(self, exchange: Exchanged, head: ResponseHead) -> None:
        """Start the response; it is sent by the next `flush`."""

    def send_body(self, data: Data) -> None:
        """Send a piece of the body; a view is valid until the next `flush`."""

    def send_end(self) -> None:
        """End the response."""

    def flush(self) -> bool:
        """Send what is buffered. False when the client is gone."""

    def done(self, exchange: Exchanged) -> None:
        """The exchange ended with a complete response."""

    def truncate(self, exchange: Exchanged) -> None:
        """The exchange ended with an incomplete response, which the client must be able to see."""

    def read_on(self) -> None:
        """Resume reading the request body."""

    def tunnel(self, exchange: Exchanged, head: ResponseHead, connection: UpstreamConnection) -> bool:
        """Become a tunnel after this 101. False if the protocol has none."""
