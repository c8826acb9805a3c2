"""Reception of a request: it is routed, or answered where no route is needed to know what to say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from hotswap.core.errors import Side
from hotswap.core.http.forwarding import counted_down
from hotswap.core.http.routing import RouteMatch, location_of

if TYPE_CHECKING:
    from hotswap.core.http.forwarding import Peer
    from hotswap.core.http.messages import Field, RequestHead
    from hotswap.edge.exchange.entrance import Entrance
    from hotswap.edge.exchange.route_rules import RouteRules
    from hotswap.edge.exchange.surroundings import ExchangePlane


class Arriving(Protocol):
    """An exchange that begins; see `hotswap.edge.exchange.exchange.Exchange`."""

    plane: ExchangePlane[Any]
    listener: Entrance
    head: RequestHead
    peer: Peer
    target: bytes
    prefix: bytes
    pool_name: str
    rules: RouteRules | None
    request_bytes: int
    body_bytes: float | None
    idle_timeout: float

    def answer(self, status: int, *, side: Side | None = None, error: str = "", fields: tuple[Field, ...] = ()) -> None:
        """End with an answer of the proxy's own."""

    def proceed(self) -> None:
        """Take the steps of the route's rules, and then claim a backend."""

    def forward(self) -> None:
        """Claim a backend, or wait for one."""


def receive(exchange: Arriving) -> None:
    """Route the request and claim a backend; requests that are not forwarded are answered here."""
    head = exchange.head
    listener = exchange.listener
    may_ask_for = exchange.peer.may_ask_for
    if may_ask_for is not None and not may_ask_for(head.host):
        exchange.answer(421, side=Side.DOWNSTREAM, error="the connection is for another host")
        return
    redirect = listener.redirect
    if redirect is not None:
        if head.host:
            exchange.answer(redirect.status, fields=((b"Location", location_of(redirect, head)),))
        else:
            exchange.answer(400, side=Side.DOWNSTREAM, error="no host to redirect to")
        return
    if head.method == b"OPTIONS":
        counted = counted_down(head)
        if counted is None:
            exchange.answer(200)
            return
        exchange.head = head = counted
    match = exchange.plane.router.match(head.host, head.path)
    if not isinstance(match, RouteMatch):
        if match is None:
            exchange.answer(404, side=Side.DOWNSTREAM, error="no route")
        else:
            exchange.answer(400, side=Side.DOWNSTREAM, error=match.value)
        return
    if match.strip:
        exchange.target = match.rewrite(head.target)
        exchange.prefix = match.prefix
    exchange.pool_name = match.pool
    rules = None if match.rule is None else exchange.plane.rules[match.rule]
    if rules is not None:
        exchange.rules = rules
        if rules.idle_timeout is not None:
            exchange.idle_timeout = rules.idle_timeout
    if not head.complete:
        own = None if rules is None else rules.body_bytes
        limit = exchange.body_bytes = listener.body_bytes if own is None else own
        if limit is not None and max(head.content_length or 0, exchange.request_bytes) > limit:
            exchange.answer(413, side=Side.DOWNSTREAM, error="the body is too large")
            return
    if rules is None:
        exchange.forward()
    else:
        exchange.proceed()
