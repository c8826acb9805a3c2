"""Writes access lines in the combined format of Apache and nginx, and counts exchanges as `Ledger` does."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from hotswap.core.http.access_log import combined_line, combined_time
from hotswap.core.tally import Tally
from hotswap.edge.exchange.ledger import NO_LINE, Ledger

if TYPE_CHECKING:
    from hotswap.core.errors import BadRequest
    from hotswap.core.http.forwarding import Peer
    from hotswap.edge.exchange.entrance import Entrance
    from hotswap.edge.exchange.exchange import Exchange


class CombinedLedger(Ledger):
    """Counts exchanges in a tally and writes their access lines; `Ledger` says what the arguments are."""

    __slots__ = ("_combined", "_written")

    def __init__(self, tally: Tally, sink: Callable[[bytes], None] | None, clock: Callable[[], float]) -> None:
        super().__init__(tally, None, clock)
        self._combined = sink
        self._written: list[bytes] = []

    def record(self, exchange: Exchange) -> None:
        """Record the end of an exchange."""
        super().record(exchange)
        if self._combined is None:
            return
        head = exchange.head
        self._written.append(
            combined_line(
                _now(),
                exchange.peer.client_of(head),
                head.method,
                head.target,
                head.version,
                exchange.status,
                exchange.response_bytes,
                head.field(b"referer") or b"",
                head.field(b"user-agent") or b"",
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
        if self._combined is not None:
            self._written.append(combined_line(_now(), peer.address, *line, error.status, response_bytes))

    def flush(self) -> None:
        """Hand on the gathered lines, at the end of each turn of the poller."""
        if self._written and self._combined is not None:
            data = b"".join(self._written)
            self._written.clear()  # first, so that a sink that fails does not make them pile up
            self._combined(data)


def _now() -> str:
    return combined_time(int(time.time()))  # noqa: TID251  # people read the access log by the calendar
