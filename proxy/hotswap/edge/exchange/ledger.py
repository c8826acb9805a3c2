"""Counts every exchange and writes its access line; lines are gathered and handed on once a turn.

Nothing here waits: the sink that takes the lines has its own thread, and drops and counts when a disk is slow.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from hotswap.core.http.access_log import json_line, json_time
from hotswap.core.memory import Memory
from hotswap.core.pool.traffic import BUCKETS, COARSE, FINE_BOUNDS, NO_GENERATION
from hotswap.core.tally import DURATION_BOUNDS, Tally

if TYPE_CHECKING:
    from hotswap.core.errors import BadRequest
    from hotswap.core.http.forwarding import Peer
    from hotswap.edge.exchange.entrance import Entrance
    from hotswap.edge.exchange.exchange import Exchange


_METHODS: Final = Memory(partial(str, encoding="ascii", errors="replace"), entries=64, key_bytes=64)
"""Methods as text; llhttp knows some forty."""

NO_LINE: Final = (b"", b"", 0)

TUNNEL: Final = 101
"""The status of what became a tunnel: how long one lasts says nothing about how fast its backend is."""


class Ledger:
    """Counts exchanges in a tally and writes their access lines as JSON.

    Args:
        tally: the counters.
        sink: takes whole lines; None when the access log is off.
        clock: the data plane's clock, in seconds.
    """

    __slots__ = ("_clock", "_lines", "_second", "_sink", "_stamp", "_tally")

    def __init__(self, tally: Tally, sink: Callable[[bytes], None] | None, clock: Callable[[], float]) -> None:
        self._tally = tally
        self._sink = sink
        self._clock = clock
        self._lines: list[bytes] = []
        self._second = 0
        self._stamp = b""

    def record(self, exchange: Exchange) -> None:
        """Record the end of an exchange."""
        tally = self._tally
        head = exchange.head
        pool = exchange.pool_name
        status = exchange.status
        listener = exchange.listener.name
        duration = self._clock() - exchange.started
        tally.requests[listener, pool, _METHODS[head.method], status] += 1
        gate = exchange.gate
        if gate is not None:
            # As `Histogram.observe`, spelled out: two calls less on the path of every request.
            histogram = gate.request_duration
            bucket = bisect_left(FINE_BOUNDS, duration)
            histogram.counts[COARSE[bucket]] += 1
            histogram.total += duration
            if status != TUNNEL:
                server = exchange.backend
                counts = gate.served[NO_GENERATION if server is None else server.generation]
                counts[bucket if status < 500 else bucket + BUCKETS] += 1
        upstream = exchange.upstream_seconds
        if upstream >= 0 and gate is not None:
            histogram = gate.upstream_duration
            histogram.counts[bisect_left(DURATION_BOUNDS, upstream)] += 1
            histogram.total += upstream
        rules = exchange.rules
        if self._sink is None or (rules is not None and not rules.log):
            return
        backend = exchange.backend
        self._lines.append(
            json_line(
                self._stamp or self._now(),
                listener,
                exchange.peer.client_of(head),
                head.method,
                head.host,
                head.target,
                head.version,
                status,
                exchange.request_bytes,
                exchange.response_bytes,
                duration,
                pool,
                None if backend is None else backend.slot,
                None if backend is None else backend.generation,
                None if upstream < 0 else upstream,
                exchange.retries,
                exchange.held_seconds,
                exchange.request_id,
                "" if exchange.side is None else exchange.side.value,
                exchange.error,
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
        """Record an answer to input that was not a request.

        `line` is its method, target and version, as far as they could be read; they are told and not counted by.
        """
        method, target, version = line
        self._tally.requests[listener.name, "", "", error.status] += 1
        if self._sink is not None:
            self._lines.append(
                json_line(
                    self._stamp or self._now(),
                    listener.name,
                    peer.address,
                    method,
                    b"",
                    target,
                    version,
                    error.status,
                    0,
                    response_bytes,
                    0.0,
                    side=error.side.value,
                    error=error.detail,
                )
            )

    def flush(self) -> None:
        """Hand on the gathered lines, at the end of each turn of the poller."""
        self._stamp = b""
        if self._lines and self._sink is not None:
            data = b"".join(self._lines)
            self._lines.clear()  # first, so that a sink that fails does not make them pile up
            self._sink(data)

    def _now(self) -> bytes:
        second = int(time.time())  # noqa: TID251  # people read the access log by the calendar
        if second != self._second or not self._stamp:
            self._second = second
            self._stamp = json_time(second)
        return self._stamp


LedgerMaker = Callable[[Tally, Callable[[bytes], None] | None, Callable[[], float]], Ledger]
"""Makes a ledger of what `Ledger` takes: its class, that of another format, or either with options."""
