"""Writes access lines in another format than JSON, and counts exchanges as `Ledger` does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hotswap.core.tally import Tally
from hotswap.edge.exchange.ledger import NO_LINE, Ledger

if TYPE_CHECKING:
    from hotswap.core.errors import BadRequest
    from hotswap.core.http.forwarding import Peer
    from hotswap.edge.exchange.entrance import Entrance
    from hotswap.edge.exchange.exchange import Exchange


@dataclass(frozen=True, slots=True, kw_only=True)
class LineFormat:
    """A format of access lines.

    Attributes:
        exchange: gives the line of an exchange that has ended, from it and its duration in seconds.
        refusal: gives the line of input that was not a request, from what `Ledger.refused` takes behind the listener.
    """

    exchange: Callable[[Exchange, float], bytes]
    refusal: Callable[[Peer, BadRequest, tuple[bytes, bytes, int], int], bytes]


class FormattedLedger(Ledger):
    """Counts exchanges in a tally and writes their access lines; `Ledger` says what the other arguments are.

    Args:
        line_format: of the lines.
    """

    __slots__ = ("_format", "_takes", "_written")

    def __init__(
        self,
        tally: Tally,
        sink: Callable[[bytes], None] | None,
        clock: Callable[[], float],
        *,
        line_format: LineFormat,
    ) -> None:
        super().__init__(tally, None, clock)
        self._takes = sink
        self._format = line_format
        self._written: list[bytes] = []

    def record(self, exchange: Exchange) -> None:
        """Record the end of an exchange."""
        super().record(exchange)
        rules = exchange.rules
        if self._takes is not None and (rules is None or rules.log):
            self._written.append(self._format.exchange(exchange, self._clock() - exchange.started))

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
        if self._takes is not None:
            self._written.append(self._format.refusal(peer, error, line, response_bytes))

    def flush(self) -> None:
        """Hand on the gathered lines, at the end of each turn of the poller."""
        if self._written and self._takes is not None:
            data = b"".join(self._written)
            self._written.clear()  # first, so that a sink that fails does not make them pile up
            self._takes(data)
