"""Makes the answers of the proxy's own: a page for browsers, a line of text for all others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from hotswap.core.http.error_page import page_answer
from hotswap.core.http.forwarding import error_head, request_id_of
from hotswap.core.http.html_preference import accept_field, prefers_html
from hotswap.edge.exchange.page_carrier import PIECE_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hotswap.core.http.forwarding import Peer
    from hotswap.core.http.messages import Field, RequestHead, ResponseHead


class PagesPlane(Protocol):
    """The data plane, as far as pages are concerned; see `hotswap.edge.exchange.surroundings.ExchangePlane`."""

    pages: Mapping[str, Mapping[int, bytes]]

    def next_request_id(self) -> bytes:
        """A new request id: unique among all proxies, and ascending within one."""


class Answerable(Protocol):
    """An exchange that has no answer yet; `request_id` is set when its page names it."""

    head: RequestHead
    peer: Peer
    pool_name: str
    request_id: bytes
    request_done: bool

    @property
    def plane(self) -> PagesPlane:
        """Has the pages of pools."""


def own_answer(exchange: Answerable, status: int, fields: tuple[Field, ...], page: bytes) -> tuple[ResponseHead, bytes]:
    """Give head and body of an answer.

    Args:
        exchange: to which.
        status: of it.
        fields: further fields of its head.
        page: for a browser; empty: that of the pool for the status, or the proxy's own.
    """
    if status < 400 or not prefers_html(accept_field(exchange.head)):
        return error_head(status, fields)
    plane = exchange.plane
    page = page or plane.pages.get(exchange.pool_name, {}).get(status, b"")
    if len(page) > PIECE_BYTES and not exchange.request_done:
        page = b""  # it would be kept whole for a client that may never read
    exchange.request_id = exchange.request_id or request_id_of(exchange.head, exchange.peer) or plane.next_request_id()
    return page_answer(status, fields, page=page, request_id=exchange.request_id)
