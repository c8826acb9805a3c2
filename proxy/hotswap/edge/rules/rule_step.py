"""Interface between an exchange and the rules of its route.

A route's rules are steps in a fixed order. Each judges the request at once, or answers later and lets the exchange
`proceed` then; a route without rules has none, and costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from hotswap.edge.upstream.carrier import Carried

if TYPE_CHECKING:
    from hotswap.core.errors import Side
    from hotswap.core.http.forwarding import Peer
    from hotswap.core.http.messages import Field, RequestHead
    from hotswap.edge.loop.plane import LoopPlane
    from hotswap.edge.upstream.carrier import Carrier


class Entered(Protocol):
    """The listener by which a request came; `name` is its name."""

    name: str


class Entering(Carried, Protocol):
    """An exchange on its way through the steps; see `hotswap.edge.exchange.exchange.Exchange`.

    Attributes:
        head: of the request.
        target: what the backend will be asked for, a stripped prefix gone.
        peer: the client's end.
        pool_name: of the pool of the route; empty where it has none.
        finished: it was answered, or the client has left.
    """

    head: RequestHead
    target: bytes
    peer: Peer
    pool_name: str
    finished: bool

    @property
    def listener(self) -> Entered:
        """The listener by which it came."""

    @property
    def plane(self) -> LoopPlane:
        """The data plane that it is of."""

    def answer(self, status: int, *, side: Side | None = None, error: str = "", fields: tuple[Field, ...] = ()) -> None:
        """End with an answer of the proxy's own."""

    def answer_from(self, carrier: Carrier) -> None:
        """Have something else than a backend answer: it is asked to carry the exchange, and calls it as one does."""

    def proceed(self) -> None:
        """Take the next step; called by a step that had answered False and is done now."""


class RuleStep(Protocol):
    """One rule of a route."""

    def take(self, exchange: Entering) -> bool:
        """Judge a request.

        Returns:
            Whether it goes on. False: it has been answered, or `Entering.proceed` follows, unless it is `finished`.
        """
