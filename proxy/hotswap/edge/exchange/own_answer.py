"""Sends an answer of the proxy's own: a page to browsers, and a line of text to all others."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

from hotswap.core.http.error_page import page_answer
from hotswap.core.http.forwarding import error_head, request_id_of
from hotswap.core.http.html_preference import accept_field, prefers_html
from hotswap.edge.exchange.gate import Claimant
from hotswap.edge.exchange.page_carrier import PIECE_BYTES, PageCarrier
from hotswap.edge.exchange.response_head import Heading, finish_head

if TYPE_CHECKING:
    from hotswap.core.http.forwarding import Peer
    from hotswap.core.http.messages import Field, RequestHead, ResponseHead
    from hotswap.edge.exchange.gate import Gate
    from hotswap.edge.exchange.surroundings import ExchangePlane, Responder
    from hotswap.edge.upstream.carrier import Carrier


class AnsweredHere(Claimant, Heading, Protocol):
    """An exchange that the proxy itself answers; see `hotswap.edge.exchange.exchange.Exchange`."""

    plane: ExchangePlane[Any]
    responder: Responder[Any]
    head: RequestHead
    peer: Peer
    pool_name: str
    gate: Gate | None
    request_done: bool
    request_id: bytes
    response_bytes: int

    def release_claim(self) -> None:
        """Let go of the backend."""

    def answer_from(self, carrier: Carrier) -> None:
        """Have something else than a backend answer."""

    def finish(self) -> None:
        """Release the claim and write the record."""


def send_own_answer(exchange: AnsweredHere, status: int, fields: tuple[Field, ...], page: bytes) -> None:
    """Send it, and end the exchange, at once or when the client has taken a large page.

    Args:
        exchange: in whose response nothing has been sent.
        status: of the answer.
        fields: of its head, besides those that each has.
        page: HTML that browsers get; empty: that of the pool for the status, or the proxy's own.
    """
    if status >= 400 and prefers_html(accept_field(exchange.head)):
        head, body = _with_page(exchange, status, fields, page)
    else:
        head, body = error_head(status, fields)
    finish_head(exchange, head)
    responder = exchange.responder
    responder.send_head(exchange, head)
    if exchange.head.method != b"HEAD":
        if len(body) > PIECE_BYTES:
            exchange.release_claim()
            if exchange.gate is not None:
                exchange.gate.forget(exchange)
            exchange.plane.poller.timers.set(exchange, math.inf)
            exchange.answer_from(PageCarrier(body))
            return
        exchange.response_bytes += len(body)
        responder.send_body(body)
    responder.send_end()
    alive = responder.flush()
    exchange.finish()
    if alive:
        responder.done(exchange)
    else:
        responder.truncate(exchange)


def _with_page(
    exchange: AnsweredHere, status: int, fields: tuple[Field, ...], page: bytes
) -> tuple[ResponseHead, bytes]:
    page = page or exchange.plane.pages.get(exchange.pool_name, {}).get(status, b"")
    if len(page) > PIECE_BYTES and not exchange.request_done:
        page = b""  # it would be kept whole for a client that may never read
    exchange.request_id = (
        exchange.request_id or request_id_of(exchange.head, exchange.peer) or exchange.plane.next_request_id()
    )
    return page_answer(status, fields, page=page, request_id=exchange.request_id)
