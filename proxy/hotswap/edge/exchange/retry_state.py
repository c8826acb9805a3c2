"""Retry state of an exchange: failed backends, its share of the retry budget, and the pause before a retry.

What follows a failure is decided in `hotswap.core.http.retry`; here is what that decision depends on from one failure
to the next.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

from hotswap.core.http.retry import UNTOUCHED, Attempt, Retry, Verdict, Where, backoff, decide, given_up

if TYPE_CHECKING:
    from hotswap.core.http.retry import Failure
    from hotswap.core.identity import BackendId
    from hotswap.core.pool.candidate import Candidate
    from hotswap.edge.exchange.gate import Gate


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
