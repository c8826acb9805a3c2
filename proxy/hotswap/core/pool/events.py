"""What a pool tells its observers, in the past tense: the change is complete when the event arrives.

`pool` is the name of the pool.
"""

from __future__ import annotations

from dataclasses import dataclass

from hotswap.core.pool.backend import Backend
from hotswap.core.pool.last_error import LastError
from hotswap.core.pool.lifecycle import BackendState, Health
from hotswap.core.pool.pause_answer import PauseAnswer


@dataclass(frozen=True, slots=True)
class BackendAdded:
    """A backend joined the pool."""

    backend: Backend


@dataclass(frozen=True, slots=True)
class BackendMoved:
    """A backend changed its state; with why, where it failed."""

    backend: Backend
    before: BackendState
    after: BackendState
    error: LastError | None = None


@dataclass(frozen=True, slots=True)
class HealthChanged:
    """The verdict over a backend changed, because of what a probe found."""

    backend: Backend
    before: Health
    after: Health
    detail: str = ""


@dataclass(frozen=True, slots=True)
class BackendEjected:
    """A backend failed again and again: others are preferred for so many seconds, or, with 0, no longer."""

    backend: Backend
    seconds: float


@dataclass(frozen=True, slots=True)
class BackendDrained:
    """A draining backend has nothing in flight, from the start or since its last exchange ended."""

    backend: Backend


@dataclass(frozen=True, slots=True)
class BackendRemoved:
    """A backend left the pool."""

    backend: Backend


@dataclass(frozen=True, slots=True)
class NothingExpected:
    """Nothing is claimable and nothing is coming any more: whoever waits for a backend waits in vain."""

    pool: str


@dataclass(frozen=True, slots=True)
class PoolLocked:
    """The pool was locked, for this reason."""

    pool: str
    reason: str


@dataclass(frozen=True, slots=True)
class PoolUnlocked:
    """The lock ended."""

    pool: str


@dataclass(frozen=True, slots=True)
class PoolPaused:
    """No exchange is claimed any more, until the pool is resumed: requests are held, or answered at once."""

    pool: str
    answer: PauseAnswer | None = None


@dataclass(frozen=True, slots=True)
class PoolResumed:
    """Exchanges are claimed again."""

    pool: str


PoolEvent = (
    BackendAdded
    | BackendMoved
    | HealthChanged
    | BackendEjected
    | BackendDrained
    | BackendRemoved
    | NothingExpected
    | PoolLocked
    | PoolUnlocked
    | PoolPaused
    | PoolResumed
)
