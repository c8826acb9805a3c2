"""Formats of access lines besides JSON: the combined one of Apache and nginx, and a short one for a terminal."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Final

from hotswap.core.http.access_log import combined_line, combined_time
from hotswap.core.http.basic_credentials import authorization_of, parse_basic
from hotswap.core.http.short_line import short_line
from hotswap.edge.exchange.formatted_ledger import LineFormat

if TYPE_CHECKING:
    from hotswap.core.errors import BadRequest
    from hotswap.core.http.forwarding import Peer
    from hotswap.edge.exchange.exchange import Exchange


def _combined(exchange: Exchange, _duration: float) -> bytes:
    head = exchange.head
    return combined_line(
        _date(),
        exchange.peer.client_of(head),
        head.method,
        head.target,
        head.version,
        exchange.status,
        exchange.response_bytes,
        head.field(b"referer") or b"",
        head.field(b"user-agent") or b"",
        _user_of(exchange),
    )


def _user_of(exchange: Exchange) -> bytes:
    """The user who a request says it is from, right or not, where the route asks for one; else nothing."""
    rules = exchange.rules
    if rules is None or not rules.table.basic_auth:
        return b""
    credentials = parse_basic(authorization_of(exchange.head) or b"")
    return b"" if credentials is None else credentials.user.encode()


def _combined_refusal(peer: Peer, error: BadRequest, line: tuple[bytes, bytes, int], response_bytes: int) -> bytes:
    return combined_line(_date(), peer.address, *line, error.status, response_bytes)


COMBINED: Final = LineFormat(exchange=_combined, refusal=_combined_refusal)
"""For programs that read the lines of Apache and nginx."""


def short_format(*, colours: bool) -> LineFormat:
    """Give the format for people at a terminal, which has colours or not."""
    return LineFormat(exchange=partial(_short, colours=colours), refusal=partial(_short_refusal, colours=colours))


def _short(exchange: Exchange, duration: float, *, colours: bool) -> bytes:
    head, backend = exchange.head, exchange.backend
    return short_line(
        _time_of_day(),
        head.method,
        head.host,
        head.target,
        exchange.status,
        duration,
        exchange.pool_name,
        None if backend is None else backend.slot,
        exchange.error,
        colours=colours,
    )


def _short_refusal(
    _peer: Peer, error: BadRequest, line: tuple[bytes, bytes, int], _response_bytes: int, *, colours: bool
) -> bytes:
    method, target, _ = line
    return short_line(_time_of_day(), method, b"", target, error.status, 0.0, error=error.detail, colours=colours)


def _date() -> str:
    return combined_time(int(time.time()))  # noqa: TID251  # people read the access log by the calendar


def _time_of_day() -> bytes:
    return time.strftime("%H:%M:%S").encode()
