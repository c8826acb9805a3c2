"""Retry state of an exchange: failed backends, its share of the retry budget, and the pause before a retry.

What follows a failure is decided in `hotswap.core.http.retry`; here is what that decision depends on from one failure
to the next.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from hotswap.core.errors import Side
from hotswap.core.http.messages import IDEMPOTENT
from hotswap.core.http.retry import (
    RETRY_FIELD,
    UNTOUCHED,
    Attempt,
    Fail,
    Retry,
    Verdict,
    Where,
    backoff,
    decide,
    given_up,
)
from hotswap.edge.exchange.gate import Claimant

if TYPE_CHECKING:
    from hotswap.core.http.messages import Field, RequestHead
    from hotswap.core.http.retry import Failure
    from hotswap.core.identity import BackendId
    from hotswap.core.pool.candidate import Candidate
    from hotswap.edge.exchange.gate import Gate
    from hotswap.edge.exchange.request_body import RequestBody


class Failing(Claimant, Protocol):
    """An exchange with which a backend has failed; see `hotswap.edge.exchange.exchange.Exchange`.

    Attributes:
        backend: that failed.
        began: a response has begun.
        error: what happened.
        head: of the request.
        request_body: None where there is none.
        retries: all attempts after the first.
        written: bytes of the request that were written to the backend.
    """

    backend: Candidate | None
    began: bool
    error: str
    head: RequestHead
    request_body: RequestBody | None
    retries: int
    written: int

    def release_claim(self) -> None:
        """Let go of the backend."""

    def admit(self, gate: Gate) -> None:
        """Claim a backend, or be held until there is one."""

    def break_off(self, *, at_once: bool = True) -> None:
        """Abort in the middle of the response; or when the client has got what waits for it."""

    def answer(self, status: int, *, side: Side | None = None, error: str = "", fields: tuple[Field, ...] = ()) -> None:
        """End with an answer of the proxy's own."""


class RetryState:
    """Failures of one exchange; created at the first, since most exchanges have none.

    Attributes:
        excluded: the backends it failed with, which it is not given again while there are others.
        fresh_only: the next attempt takes a new connection.
        pausing: the next attempt waits for the exchange's deadline.
    """

    __slots__ = ("_counted", "_free_since", "_gate", "_in_budget", "excluded", "fresh_only", "pausing")

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._counted = 0  # retries that have a limit
        self._free_since = 0.0  # since then it has been tried without being counted
        self._in_budget = False
        self.excluded: tuple[BackendId, ...] = ()
        self.fresh_only = self.pausing = False

    def on_failure(self, exchange: Failing, failure: Failure, *, reused: bool, responded: bool) -> None:
        """Let go of the backend that failed, and do what follows: try again, answer, or break off.

        Args:
            exchange: whose error and side are set.
            failure: what happened.
            reused: the connection had carried another exchange before.
            responded: some of a response had come.
        """
        gate, backend, body = self._gate, exchange.backend, exchange.request_body
        assert backend is not None
        now = gate.plane.poller.now
        head = exchange.head
        attempt = Attempt(
            failure=failure,
            reused=reused,
            request_bytes=exchange.written,
            idempotent=head.method in IDEMPOTENT,
            replayable=body is None or body.replayable,
            response_bytes=int(responded),
            sent_bytes=int(exchange.began),
            marked=head.field(RETRY_FIELD) is not None,
        )
        verdict = self.judge(attempt, backend.id, now)
        if body is not None:
            body.sending = False
        share = backend.in_flight
        exchange.release_claim()
        if isinstance(verdict, Retry) and verdict.counted and exchange.written:
            verdict = self.within_budget(verdict, backend, share, now)
        if verdict.blame:
            gate.ejections.blame(backend)
        match verdict:
            case Retry():
                exchange.retries += 1
                gate.retried += 1
                gate.plane.tally.retries[gate.name, failure.value] += 1
                exchange.written = 0
                pause = self.prepare(verdict, failure, backend.id, now, exchange.retries)
                if self.pausing:
                    gate.plane.poller.timers.set(exchange, now + pause)
                else:
                    exchange.admit(gate)
            case Fail(status=0):
                exchange.break_off(at_once=False)
            case Fail(status=503):
                exchange.turn_away(exchange.error)
            case Fail(status=status):
                exchange.answer(status, side=Side.UPSTREAM, error=exchange.error)

    def judge(self, attempt: Attempt, backend: BackendId, now: float) -> Verdict:
        """Decide what follows a failure.

        Args:
            attempt: what failed, without what the failures before it tell.
            backend: with which.
            now: seconds of the data plane's clock.
        """
        gate = self._gate
        return decide(
            replace(
                attempt,
                retries=self._counted,
                untried=not gate.only_excluded((*self.excluded, backend)),
                overdue=bool(self._free_since) and now - self._free_since > gate.table.hold_timeout,
            )
        )

    def within_budget(self, verdict: Retry, backend: Candidate, share: int, now: float) -> Verdict:
        """Acquire a place in the pool's retry budget, once; without one the retry is given up.

        Args:
            verdict: a retry of what was written, at least in part: any other costs no backend anything.
            backend: that failed.
            share: how many exchanges it had in flight.
            now: seconds of the data plane's clock.
        """
        gate = self._gate
        if not self._in_budget:
            if not gate.budget.claim(gate.claims.in_flight, backend=backend.id, share=share, now=now):
                return given_up(verdict)
            self._in_budget = True
        return verdict

    def prepare(self, verdict: Retry, failure: Failure, backend: BackendId, now: float, number: int) -> float:
        """Record a retry that is about to be made.

        Args:
            verdict: the retry.
            failure: why.
            backend: that failed.
            now: seconds of the data plane's clock.
            number: how many retries there are, this one among them.

        Returns:
            The seconds to wait before it, for `pausing` is set; 0 where it need not wait.
        """
        self._counted += verdict.counted
        self.fresh_only = failure not in UNTOUCHED
        if verdict.where is Where.OTHER_BACKEND:
            if not verdict.counted and not self._free_since:
                self._free_since = now
            if backend not in self.excluded:
                self.excluded = (*self.excluded, backend)
            if self._gate.only_excluded(self.excluded):
                self.pausing = True  # no other one: the same again, but not at once
                return backoff(number, random.random)
        return 0.0

    def close(self) -> None:
        """Release the place in the retry budget; called once, at the end of the exchange."""
        if self._in_budget:
            self._gate.budget.release()
