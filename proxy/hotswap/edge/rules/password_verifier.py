"""Verifies passwords, one at a time and in a thread, so that guessing costs nobody else anything.

Theory. A password costs a tenth of a second to verify, by design, and anybody may send one. Three things bound what
that does to others. Each client has a few failures at once and then one each `FAILURES` allows; beyond that it is
answered 429 without a look. One password is verified at a time, and after a wrong one the verifier rests for
`REST` times as long, so it never takes more than a quarter of a processor for guesses. And those who wait are served
in the order of how much they have failed lately, and the latest first among equals: somebody who comes to log in waits
for the password under way and for whoever comes later, never behind a crowd that guesses. Where there is no room, the
last in this order is turned away. Who is known to be right (`hotswap.edge.rules.known_credentials`) does not come here
at all.

Counts of failures are of all routes together, and go on when the routes are set anew.
"""

from __future__ import annotations

import math
import time
from bisect import insort
from collections.abc import Callable
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Final, Protocol

import trio

from hotswap.core.errors import Side
from hotswap.core.http.rate import RequestRate
from hotswap.core.http.rate_limiter import RateLimiter
from hotswap.edge.loop.containment import contain
from hotswap.edge.loop.timers import NEVER, Place
from hotswap.edge.rules.known_credentials import KnownCredentials
from hotswap.edge.rules.rate_step import answer_too_many

if TYPE_CHECKING:
    from hotswap.core.http.password_hash import PasswordHash
    from hotswap.edge.loop.plane import LoopPlane
    from hotswap.edge.rules.rule_step import Entering

FAILURES: Final = RequestRate(6, "m")
FAILURES_AT_ONCE: Final = 20
"""How many passwords of one address are verified in vain, and how many of them at once."""
MOST_WAITING: Final = 64
"""Passwords that wait at a time."""
MOST_JOINED: Final = 256
"""Requests that wait for the same one."""
LONGEST_WAIT: Final = 30.0
"""Seconds that one waits."""
REST: Final = 3
"""How much longer the verifier rests after a wrong password than it took."""
RETRY_AFTER: Final = (b"Retry-After", b"10")


class Door(Protocol):
    """Who asks for passwords to be verified."""

    def refuse(self, exchange: Entering) -> None:
        """Answer a request whose credentials are wrong."""


class _Attempt:
    """One password to be verified, for one request or more of the same client."""

    __slots__ = (
        "client",
        "digest",
        "door",
        "exchanges",
        "exists",
        "hashed",
        "number",
        "since",
        "used",
        "user",
        "verifier",
        "verify",
    )

    def __init__(
        self, verifier: PasswordVerifier, door: Door, *, client: bytes, digest: bytes, user: str, hashed: PasswordHash
    ) -> None:
        self.verifier = verifier
        self.door = door
        self.client = client
        self.digest = digest
        self.user = user
        self.hashed = hashed
        self.exists = False
        self.verify: Callable[[], bool] = bool
        self.exchanges: list[Entering] = []
        self.since = self.used = 0.0
        self.number = 0

    @property
    def rank(self) -> tuple[float, int]:
        """Its place among those who wait: who has used less is before who has used more, and who came later before who
        came earlier, so that a crowd of strangers who came all at once keeps nobody waiting but itself."""
        return self.used, -self.number

    def on_crash(self, error: Exception) -> None:
        """Contain a defect of ours to its requests."""
        self.verifier.on_attempt_crashed(self, error)


class PasswordVerifier:
    """See the module.

    Args:
        plane: whose loop and threads it uses.

    Attributes:
        known: the credentials that were right.
    """

    def __init__(self, plane: LoopPlane) -> None:
        self._plane = plane
        self.known = KnownCredentials()
        self._failures = RateLimiter(FAILURES, FAILURES_AT_ONCE - 1)
        self._attempts: dict[tuple[Door, bytes, bytes], _Attempt] = {}  # those that wait, and the one under way
        self._waiting: list[_Attempt] = []
        self._busy = False
        self._number = 0
        self._limiter: trio.CapacityLimiter | None = None
        self.deadline = math.inf
        self.armed: Place = NEVER

    def ask(
        self,
        exchange: Entering,
        door: Door,
        *,
        client: bytes,
        digest: bytes,
        user: str,
        hashed: PasswordHash,
        password: bytes,
        exists: bool,
    ) -> None:
        """Have the password of a request verified; it is answered, or proceeds, at once or later.

        Args:
            exchange: the request.
            door: who asks.
            client: key of the client.
            digest: of its credentials.
            user: who it says to be.
            hashed: the hash of the right password, or any for a user who does not exist.
            password: what the client says.
            exists: whether the user does; if not the password is wrong, after as much work.
        """
        known = self._attempts.get((door, client, digest))
        if known is not None:
            if len(known.exchanges) < MOST_JOINED:
                known.exchanges.append(exchange)
            else:
                _turn_away(exchange)
            return
        now = self._plane.poller.now
        wait = self._failures.take(client, now)
        if wait:
            answer_too_many(exchange, wait, "too many wrong passwords")
            return
        attempt = _Attempt(self, door, client=client, digest=digest, user=user, hashed=hashed)
        attempt.exchanges.append(exchange)
        attempt.exists = exists
        attempt.verify = partial(hashed.matches, password)
        attempt.since = now
        attempt.used = self._failures.used(client, now)
        self._number += 1
        attempt.number = self._number
        self._attempts[door, client, digest] = attempt
        insort(self._waiting, attempt, key=attrgetter("rank"))
        if len(self._waiting) > MOST_WAITING:
            self._drop(self._waiting.pop())
        self._go_on()

    def _go_on(self) -> None:
        """Verify the next one, if none is under way and the rest is over."""
        now = self._plane.poller.now
        while self._waiting and not self._busy and self.deadline == math.inf:
            attempt = self._waiting.pop(0)
            exchanges = attempt.exchanges = [exchange for exchange in attempt.exchanges if not exchange.finished]
            if not exchanges:  # all have left
                self._forget(attempt)
            elif attempt.exists and self.known.hold(attempt.digest, {attempt.user: attempt.hashed}, now):
                self._end(attempt, right=True)
            elif now - attempt.since > LONGEST_WAIT:
                self._drop(attempt)
            else:
                self._begin(attempt)

    def _begin(self, attempt: _Attempt) -> None:
        if self._limiter is None:  # not before there is something to verify
            self._limiter = trio.CapacityLimiter(1)
        self._busy = True
        self._plane.jobs.begin(
            attempt,
            partial(_timed, attempt.verify),
            partial(self._on_verified, attempt),
            partial(self.on_attempt_crashed, attempt),
            limiter=self._limiter,
        )

    def _on_verified(self, attempt: _Attempt, outcome: tuple[bool, float]) -> None:
        matches, seconds = outcome
        right = matches and attempt.exists
        self._busy = False
        if right:
            self.known.add(attempt.digest, attempt.user, attempt.hashed, self._plane.poller.now)
        else:
            self._plane.poller.timers.set(self, self._plane.poller.now + REST * seconds)
        self._end(attempt, right=right)
        self._go_on()

    def on_attempt_crashed(self, attempt: _Attempt, error: Exception) -> None:
        """A password could not be verified: its requests are answered as for any defect, and others are served on."""
        self._busy = False
        self._forget(attempt)
        for exchange in attempt.exchanges:
            exchange.on_crash(error)
        self._go_on()

    def on_deadline(self) -> None:
        """The rest is over."""
        self._go_on()

    def on_crash(self, error: Exception) -> None:
        """A defect of ours, of nobody in particular."""
        self._plane.on_crash(error, "passwords")

    def _end(self, attempt: _Attempt, *, right: bool) -> None:
        """Answer the requests of an attempt, or let them proceed; spread over turns if they are many."""
        self._forget(attempt)
        if right:
            self._failures.give_back(attempt.client)
        soon = self._plane.poller.soon
        for exchange in attempt.exchanges:
            soon(exchange, partial(_end_wait, exchange, attempt.door, right=right))

    def _drop(self, attempt: _Attempt) -> None:
        """Turn the requests of an attempt away that has not been verified; it counts, or guesses would be free."""
        self._forget(attempt)
        for exchange in attempt.exchanges:
            contain(exchange, _turn_away, exchange)

    def _forget(self, attempt: _Attempt) -> None:
        del self._attempts[attempt.door, attempt.client, attempt.digest]


def _timed(verify: Callable[[], bool]) -> tuple[bool, float]:
    """The outcome, and the seconds of processor time that it took."""
    begin = time.thread_time()
    right = verify()
    return right, time.thread_time() - begin


def _end_wait(exchange: Entering, door: Door, *, right: bool) -> None:
    if exchange.finished:
        return
    if right:
        exchange.proceed()
    else:
        door.refuse(exchange)


def _turn_away(exchange: Entering) -> None:
    exchange.answer(503, side=Side.INTERNAL, error="too many passwords wait to be verified", fields=(RETRY_AFTER,))
