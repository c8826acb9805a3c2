"""Retry policy: whether and where to retry after a failed attempt, or how the exchange ends.

The rules are the rows of `RULES`, tried from the top; the first that fits an attempt is the answer, and the
last row fits everything. A retry must never make a backend do something twice that the client asked for once,
so it is allowed in three cases only: nothing of the request was written, the backend said itself that it did
not process it, or the request is idempotent (RFC 9110 9.2.2) and no byte of a response came. In each case
every body byte that was taken from the client must still be there to be sent again. Once the client has a
byte of the response, there is nothing to retry and nothing to pretend: the truncation is made visible to it.

Three limits keep retries from feeding an overload: `MAX_RETRIES` for an exchange, a request that another
proxy marked as retried is not retried again, and a `RetryBudget` for the pool. The delay is full jitter, so
that exchanges that failed together do not come back together. What certainly cost no backend any work, because
it was refused or never sent, is no food for an overload: it counts against none of them, and only time ends it
(`Attempt.overdue`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from hotswap.core.errors import AddressUnknown, ConnectFailed, NothingLeft, UpstreamBroken, UpstreamTimedOut

MAX_RETRIES: Final = 2
"""Attempts after the first that may count against an exchange."""

RETRY_FIELD: Final = b"x-hotswap-retry"
"""Marks a request that a proxy may have sent before; the name in lower case."""

BACKOFF_FIRST: Final = 0.025
BACKOFF_LIMIT: Final = 0.25
"""Upper bounds of the first and of the longest delay, in seconds (the defaults of Envoy)."""

BUDGET_SHARE: Final = 0.2
BUDGET_MINIMUM: Final = 3
"""How many exchanges in flight may be retries at one moment: this share of all, and always this many."""
WAVE: Final = 1.0
"""Seconds between two backends whose share is retried beyond the budget."""


class Failure(StrEnum):
    """Kind of a failed attempt; the value is the word in logs and metrics."""

    NOT_CONNECTED = "not-connected"
    """The connect was refused, timed out, or the path is not there."""
    BROKEN = "broken"
    """The connection ended, was reset, or carried what is not HTTP."""
    NOT_PROCESSED = "not-processed"
    """The backend says that it did not begin with the request."""
    NOT_SENT = "not-sent"
    """Something of our own was missing: a descriptor, or the addresses behind the backend's name."""
    TIMED_OUT = "timed-out"
    """No response in time; the backend may still be working."""


def failure_of(error: ConnectFailed | UpstreamBroken | UpstreamTimedOut) -> Failure:
    """Classify an error of a backend connection."""
    if isinstance(error, ConnectFailed):
        blameless = isinstance(error, NothingLeft | AddressUnknown)
        return Failure.NOT_SENT if blameless else Failure.NOT_CONNECTED
    if isinstance(error, UpstreamTimedOut):
        return Failure.TIMED_OUT
    return Failure.NOT_PROCESSED if error.retry_safe else Failure.BROKEN


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """Facts about a failed attempt that the decision depends on.

    Attributes:
        failure: what went wrong.
        reused: the connection had carried an exchange before.
        request_bytes: bytes of the request that were written to the backend.
        idempotent: the method is (RFC 9110 9.2.2).
        replayable: every body byte taken from the client so far can be sent again; true when none was taken.
        response_bytes: bytes of a response that came from the backend, an interim one included.
        sent_bytes: bytes of the final response that were sent to the client.
        retries: how many counted retries this exchange has had already.
        marked: the request came from another proxy that had retried it.
        untried: a backend could be claimed that this exchange has not failed with.
        overdue: it has been retried, without being counted, for as long as a request may be held.
    """

    failure: Failure
    reused: bool = False
    request_bytes: int = 0
    idempotent: bool = False
    replayable: bool = True
    response_bytes: int = 0
    sent_bytes: int = 0
    retries: int = 0
    marked: bool = False
    untried: bool = False
    overdue: bool = False


class Where(StrEnum):
    """Which backend gets the next attempt."""

    FRESH_CONNECTION = "fresh-connection"
    """The same backend may be used, at once, but never a pooled connection."""
    OTHER_BACKEND = "other-backend"
    """Another backend, at once; the same one only if there is no other, and then after `backoff`."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Verdict: retry.

    Attributes:
        where: with which backend and connection.
        counted: it is one of the tries an exchange has, and needs a place in the budget.
        blame: the backend gets a passive failure.
    """

    where: Where
    counted: bool = True
    blame: bool = False


@dataclass(frozen=True, slots=True)
class Fail:
    """Verdict: end the exchange.

    Attributes:
        status: what to answer; 0: a response was begun, and the client's connection (or stream) is broken off, without
            a last chunk or clean end, and that is logged.
        blame: the backend gets a passive failure.
    """

    status: int = 502
    blame: bool = False


Verdict = Retry | Fail


@dataclass(frozen=True, slots=True)
class Rule:
    """One row: conditions that must all hold (None: any), and the verdict."""

    situation: str
    verdict: Verdict
    failures: frozenset[Failure] = frozenset(Failure)
    responded: bool | None = None  # a byte of the response came from the backend
    begun: bool | None = None  # a byte of the response went to the client
    written: bool | None = None
    reused: bool | None = None
    idempotent: bool | None = None
    replayable: bool | None = None
    untried: bool | None = None
    overdue: bool | None = None

    def fits(self, attempt: Attempt) -> bool:
        """Whether this row matches an attempt."""
        return attempt.failure in self.failures and all(
            wanted is None or wanted == found
            for wanted, found in (
                (self.responded, attempt.response_bytes > 0),
                (self.begun, attempt.sent_bytes > 0),
                (self.written, attempt.request_bytes > 0),
                (self.reused, attempt.reused),
                (self.idempotent, attempt.idempotent),
                (self.replayable, attempt.replayable),
                (self.untried, attempt.untried),
                (self.overdue, attempt.overdue),
            )
        )


def _only(*failures: Failure) -> frozenset[Failure]:
    return frozenset(failures)


_LOST: Final = _only(Failure.BROKEN)
UNTOUCHED: Final = _only(Failure.NOT_PROCESSED, Failure.NOT_SENT)
"""Nothing is wrong with the backend or its connections: the next attempt may use one that is there."""

RULES: Final[tuple[Rule, ...]] = (
    Rule("the response is partly sent", Fail(0, blame=True), begun=True),
    Rule(
        "no connection, and another backend to ask",
        Retry(Where.OTHER_BACKEND, counted=False, blame=True),
        failures=_only(Failure.NOT_CONNECTED),
        replayable=True,
        untried=True,
        overdue=False,
    ),
    Rule(
        "no connection",
        Retry(Where.OTHER_BACKEND, blame=True),
        failures=_only(Failure.NOT_CONNECTED),
        replayable=True,
    ),
    Rule(
        "a connection that takes no byte",
        Retry(Where.OTHER_BACKEND, blame=True),
        failures=_LOST,
        responded=False,
        written=False,
        replayable=True,
    ),
    Rule(
        "the backend did not process it",
        Retry(Where.OTHER_BACKEND, counted=False),
        failures=UNTOUCHED,
        replayable=True,
        overdue=False,
    ),
    Rule("nobody processed it in time", Fail(503), failures=UNTOUCHED, overdue=True),
    # A used connection that ends without a byte is most likely the race with the backend's own idle timeout:
    # no blame, and the same backend on a fresh connection is as good as any.
    Rule(
        "a reused connection ended without a response",
        Retry(Where.FRESH_CONNECTION),
        failures=_LOST,
        responded=False,
        reused=True,
        idempotent=True,
        replayable=True,
    ),
    Rule(
        "a fresh connection ended without a response",
        Retry(Where.OTHER_BACKEND, blame=True),
        failures=_LOST,
        responded=False,
        reused=False,
        idempotent=True,
        replayable=True,
    ),
    # The work may be running: a second try would double it.
    Rule("no response in time", Fail(504, blame=True), failures=_only(Failure.TIMED_OUT)),
    Rule(
        "a reused connection ended and may have done it",
        Fail(),
        failures=_LOST,
        responded=False,
        reused=True,
    ),
    Rule(
        "a connection broke",
        Fail(blame=True),
        failures=_only(Failure.BROKEN, Failure.NOT_CONNECTED),
    ),
    Rule("whatever else", Fail()),
)


def decide(attempt: Attempt) -> Verdict:
    """Decide what follows a failed attempt.

    A counted retry still needs `RetryBudget.claim`; without a place in the budget the exchange ends as
    `given_up` says.
    """
    verdict = next(rule.verdict for rule in RULES if rule.fits(attempt))
    if isinstance(verdict, Retry) and verdict.counted and (attempt.marked or attempt.retries >= MAX_RETRIES):
        return given_up(verdict)
    return verdict


def given_up(verdict: Retry) -> Fail:
    """The ending of an exchange whose retry is not possible, for lack of tries or budget."""
    return Fail(502, blame=verdict.blame)


def backoff(retries: int, random: Callable[[], float]) -> float:
    """Seconds to wait before the same backend is tried again.

    Args:
        retries: how many retries there were before this one.
        random: gives a number from 0 to 1, one not included.
    """
    return random() * min(BACKOFF_LIMIT, BACKOFF_FIRST * (1 << min(retries, 8)))


class RetryBudget:
    """Retry budget of a pool: limits its concurrent retries.

    It is there for overload, where every backend fails a few. A backend that dies fails at once all that it has in
    flight, and that is given places beyond the budget: to one backend at a time, once in `WAVE` seconds.
    """

    __slots__ = ("_dying", "_left", "_since", "active")

    def __init__(self) -> None:
        self.active = 0
        self._dying: object = None
        self._left = 0  # places for what it had in flight
        self._since = -WAVE

    def claim(self, in_flight: int, *, backend: object = None, share: int = 0, now: float = 0.0) -> bool:
        """Claim a place, if there is one; `release` gives it back when the exchange ends.

        Args:
            in_flight: exchanges in flight in the pool.
            backend: which one failed.
            share: exchanges that are in flight in it, this one included.
            now: seconds of any clock, the same for all calls.
        """
        if self.active >= max(BUDGET_MINIMUM, int(in_flight * BUDGET_SHARE)):
            if now - self._since >= WAVE:
                self._dying, self._left, self._since = backend, share, now
            if backend != self._dying or not self._left:
                return False
            self._left -= 1
        self.active += 1
        return True

    def release(self) -> None:
        """Release a place.

        Raises:
            ValueError: there is none to give back; the count would go wrong for good.
        """
        if self.active == 0:
            raise ValueError("a retry was released that was never claimed")
        self.active -= 1
