"""The attempts of one exchange: a backend is claimed or waited for, connected to, and after a failure perhaps another.

What follows a failure is decided in `hotswap.core.retry`; this module carries it out. A claim is released before the
next one is made, and whoever waits holds none.
"""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

from hotswap.core.errors import AddressUnknown, ConnectFailed, NothingLeft, Side, UpstreamBroken, UpstreamTimedOut
from hotswap.core.messages import IDEMPOTENT, Field
from hotswap.core.retry import (
    RETRY_FIELD,
    UNTOUCHED,
    Attempt,
    Ending,
    Fail,
    Failure,
    Retry,
    Where,
    backoff,
    decide,
    given_up,
)
from hotswap.edge.exchange.record import Record

if TYPE_CHECKING:
    from hotswap.core.identity import BackendId
    from hotswap.edge.exchange.gate import Gate
    from hotswap.edge.upstream.carrier import Carrier
    from hotswap.edge.upstream.upstream import Upstream


class Attempts(Record):
    """The part of an exchange that deals with backends."""

    __slots__ = ()

    def on_connected(self) -> None:
        """A connection is there, for the request to be sent."""
        raise NotImplementedError

    def answer(self, status: int, *, side: Side | None = None, error: str = "", fields: tuple[Field, ...] = ()) -> None:
        """Answer by the proxy itself and end."""
        raise NotImplementedError

    def on_crash(self, error: Exception) -> None:
        """Contain a defect of ours to this exchange."""
        raise NotImplementedError

    def _finish(self) -> None:
        raise NotImplementedError

    def _break_off(self) -> None:
        raise NotImplementedError

    def on_let_in(self, upstream: Upstream) -> None:
        """The gate has claimed a backend for this exchange, which it held."""
        self._attempt(upstream)

    def _attempt(self, upstream: Upstream) -> None:
        self.upstream = upstream
        self.backend = upstream.backend
        head = self.head
        if head.upgrade is not None and upstream.backend.h2c:
            self.answer(501, side=Side.INTERNAL, error="tunnels to backends of HTTP/2 are not supported")
            return
        connection = None if self._fresh_only else upstream.take(careful=head.method not in IDEMPOTENT)
        if connection is None:
            try:
                connection = self._connect(upstream)
            except NothingLeft as error:
                self._release_claim()
                self.answer(503, side=error.side, error=str(error), fields=self._come_back())
                return
            except AddressUnknown as error:
                self._failed(Failure.NOT_SENT, error, reused=False, responded=False)
                return
            except ConnectFailed as error:
                self._failed(Failure.NOT_CONNECTED, error, reused=False, responded=False)
                return
        self.connection = connection
        connection.carry(self, head)  # type: ignore[arg-type]  # whoever attempts is an exchange
        if not connection.connecting:
            self.on_connected()

    def _connect(self, upstream: Upstream) -> Carrier:
        try:
            return upstream.connect()
        except NothingLeft:
            if not self.plane.room.make(upstream=True):
                raise
            return upstream.connect()

    def on_upstream_failed(self, connection: Carrier, error: ConnectFailed | UpstreamBroken | UpstreamTimedOut) -> None:
        """The connection to the backend failed and is closed."""
        self.connection = None
        if isinstance(error, ConnectFailed):
            blameless = isinstance(error, NothingLeft | AddressUnknown)
            failure = Failure.NOT_SENT if blameless else Failure.NOT_CONNECTED
            self.written = 0
        elif isinstance(error, UpstreamTimedOut):
            failure = Failure.TIMED_OUT
        elif error.retry_safe:
            failure = Failure.NOT_PROCESSED
        else:
            failure = Failure.BROKEN
        self._failed(failure, error, reused=not connection.fresh, responded=connection.received)

    def _failed(self, failure: Failure, error: Exception, *, reused: bool, responded: bool) -> None:
        if self.finished:
            return
        gate, backend = self.gate, self.backend
        assert gate is not None
        assert backend is not None
        taken = self.request_bytes
        now = self.plane.poller.now
        verdict = decide(
            Attempt(
                failure=failure,
                reused=reused,
                request_bytes=self.written,
                idempotent=self.head.method in IDEMPOTENT,
                replayable=not taken or (self._replay is not None and self._replay.whole),
                response_bytes=int(responded),
                sent_bytes=int(self._began),
                retries=self._counted,
                marked=self.head.field(RETRY_FIELD) is not None,
                untried=not gate.only_excluded((*self._excluded, backend.id)),
                overdue=bool(self.free_since) and now - self.free_since > gate.table.hold_timeout,
            )
        )
        self.error = str(error)
        self.side = Side.UPSTREAM
        self._sending = False
        share = backend.in_flight
        self._release_claim()
        if isinstance(verdict, Retry) and verdict.counted and self.written and not self._in_budget:
            # A retry of what was never written costs no backend anything, and needs no place in the budget.
            if gate.budget.claim(gate.in_flight, backend=backend.id, share=share, now=now):
                self._in_budget = True
            else:
                verdict = given_up(verdict)
        if verdict.blame:
            gate.ejections.blame(backend)
        match verdict:
            case Retry(where=where, counted=counted):
                self._retry(gate, backend.id, failure, where, counted=counted)
            case Fail(ending=Ending.TRUNCATE | Ending.ABANDON):
                self._break_off()
            case Fail(status=503):
                self.turn_away(self.error)
            case Fail(status=status):
                self.answer(status or 502, side=Side.UPSTREAM, error=self.error)

    def _retry(self, gate: Gate, backend: BackendId, failure: Failure, where: Where, *, counted: bool) -> None:
        self._counted += counted
        self.retries += where is not Where.NEXT_CONNECTION
        gate.retried += 1
        self.plane.tally.retries[self.pool_name, failure.value] += 1
        self.written = 0
        self._fresh_only = where is not Where.NEXT_CONNECTION and failure not in UNTOUCHED
        if where is Where.OTHER_BACKEND:
            now = self.plane.poller.now
            if not counted and not self.free_since:
                self.free_since = now
            if backend not in self._excluded:
                self._excluded = (*self._excluded, backend)
            if gate.only_excluded(self._excluded):
                # No other one: the same again, but not at once.
                self._wait = True
                self.plane.poller.timers.set(self, now + backoff(self.retries, random.random))
                return
        self._admit_again()

    def _admit_again(self) -> None:
        assert self.gate is not None
        upstream = self.gate.admit(self, self._excluded)
        if upstream is not None:
            self._attempt(upstream)

    def turn_away(self, why: str) -> None:
        """No backend takes it: 503 with a time to come back."""
        self.plane.poller.timers.set(self, math.inf)
        self.answer(503, side=Side.UPSTREAM, error=why, fields=self._come_back())

    def _come_back(self) -> tuple[Field, ...]:
        """When those who are turned away should return; spread, so that they do not do so together."""
        return () if self.gate is None else ((b"Retry-After", self.gate.retry_after()),)

    def on_deadline(self) -> None:
        """Held for too long, or the pause before a retry is over."""
        if self.finished:
            return
        if self._wait:
            self._wait = False
            self._admit_again()
        elif self.gate is not None:
            self.gate.forget(self)
            self.turn_away("no backend in time")

    def _drop_connection(self) -> None:
        connection, self.connection = self.connection, None
        self._sending = False
        if connection is not None:
            connection.exchange = None
            connection.close()

    def _release_claim(self) -> None:
        upstream, self.upstream = self.upstream, None
        if upstream is not None and self.gate is not None:
            self.gate.claims.release(upstream.backend)
