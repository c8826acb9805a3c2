"""Writes access lines as people read them on a terminal, and counts exchanges as `Ledger` does."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from hotswap.core.http.short_line import short_line
from hotswap.core.tally import Tally
from hotswap.edge.exchange.ledger import NO_LINE, Ledger

if TYPE_CHECKING:
    from hotswap.core.errors import BadRequest
    from hotswap.core.http.forwarding import Peer
    from hotswap.edge.exchange.entrance import Entrance
    from hotswap.edge.exchange.exchange import Exchange


class ShortLedger(Ledger):
    """Counts exchanges in a tally and writes a short line for each; `Ledger` says what the other arguments are.

    Args:
        colours: whether the reader is a terminal that has them.
    """

    __slots__ = ("_colours", "_short", "_written")

    def __init__(
        self,
        tally: Tally,
        sink: Callable[[bytes], None] | None,
        clock: Callable[[], float],
        *,
        colours: bool = False,
    ) -> None:
        super().__init__(tally, None, clock)
        self._short = sink
        self._colours = colours
        self._written: list[bytes] = []

    def record(self, exchange: Exchange) -> None:
        """Record the end of an exchange."""
        super().record(exchange)
        if self._short is None:
            return
        head, backend = exchange.head, exchange.backend
        self._written.append(
            short_line(
                _now(),
                head.method,
                head.host,
                head.target,
                exchange.status,
                self._clock() - exchange.started,
                exchange.pool_name,
                None if backend is None else backend.slot,
                exchange.error,
                colours=self._colours,
            )
        )

    def refused(
        self,
        listener: Entrance,
        peer: Peer,
        error: BadRequest,
        line: tuple[bytes, bytes, int] = NO_LINE,
        response_bytes: int = 0,
    ) -> None:
        """Record an answer to input that was not a request."""
        super().refused(listener, peer, error, line, response_bytes)
        if self._short is not None:
            method, target, _ = line
            written = short_line(
                _now(), method, b"", target, error.status, 0.0, error=error.detail, colours=self._colours
            )
            self._written.append(written)

    def flush(self) -> None:
        """Hand on the gathered lines, at the end of each turn of the poller."""
        if self._written and self._short is not None:
            data = b"".join(self._written)
            self._written.clear()  # first, so that a sink that fails does not make them pile up
            self._short(data)


def _now() -> bytes:
    return time.strftime("%H:%M:%S").encode()
