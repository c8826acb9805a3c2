"""Changes the head of every response as listener and route ask for, whoever answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from hotswap.core.http.compression import LEAST_BYTES
from hotswap.core.http.field_changes import STRICT_TRANSPORT
from hotswap.edge.exchange.compressor import Compressed

if TYPE_CHECKING:
    from hotswap.core.http.messages import ResponseHead
    from hotswap.edge.exchange.entrance import Entrance
    from hotswap.edge.exchange.route_rules import RouteRules
    from hotswap.edge.exchange.surroundings import ExchangePlane


class Heading(Compressed, Protocol):
    """An exchange whose response begins; see `hotswap.edge.exchange.exchange.Exchange`.

    Attributes:
        plane: the data plane.
        listener: where the request came in.
        rules: of its route; None where that has none.
    """

    plane: ExchangePlane[Any]
    listener: Entrance
    rules: RouteRules | None


def finish_head(exchange: Heading, head: ResponseHead) -> None:
    """Add the date and HSTS, set the fields of the route, and have the body compressed, in this order.

    What the app says of HSTS stays, and a route has the last word on every field but those that compression changes.
    """
    if not head.dated:
        exchange.plane.date(head)
    listener, rules = exchange.listener, exchange.rules
    if listener.hsts and head.field(STRICT_TRANSPORT) is None:
        head.lines.append(listener.hsts)
    if rules is not None and rules.changes is not None:
        rules.changes.apply(head)
    length = head.content_length
    if (length is None or length >= LEAST_BYTES) and listener.compress and (rules is None or rules.compress):
        exchange.plane.compressor.compress(exchange, head)
