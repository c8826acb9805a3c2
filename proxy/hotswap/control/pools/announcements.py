"""Publishes the changes of a pool as events: the one place where the two vocabularies meet."""

from __future__ import annotations

from structlog.typing import FilteringBoundLogger

from hotswap.control.telemetry.events import EventLog
from hotswap.core.pool.backend import Backend
from hotswap.core.pool.events import (
    BackendAdded,
    BackendDrained,
    BackendEjected,
    BackendMoved,
    BackendRemoved,
    HealthChanged,
    NothingExpected,
    PoolEvent,
    PoolLocked,
    PoolPaused,
    PoolResumed,
    PoolUnlocked,
)


class Announcer:
    """Publishes what a pool tells; give an instance to `Pool.observe`. Never raises.

    Attributes:
        ending: the pool is being stopped, so that nothing is coming any more is no news.
    """

    def __init__(self, events: EventLog, log: FilteringBoundLogger) -> None:
        self.ending = False
        self._events = events
        self._log = log

    def __call__(self, event: PoolEvent) -> None:
        """Publish one change."""
        try:
            self._announce(event)
        except Exception as error:
            self._log.error("announcement.crashed", exc_info=error)

    def _announce(self, event: PoolEvent) -> None:
        publish = self._events.publish
        match event:
            case BackendAdded(backend=backend):
                publish("backend.added", **identity_of(backend), state=backend.state.value, pid=backend.pid)
            case BackendMoved(backend=backend, before=before, after=after, error=error):
                why = {} if error is None else {"last_error": error.text}
                publish(f"backend.{after}", **identity_of(backend), before=before.value, pid=backend.pid, **why)
            case HealthChanged(backend=backend, before=before, after=after, detail=detail):
                why = {"detail": detail} if detail else {}
                publish("backend.health", **identity_of(backend), before=before.value, health=after.value, **why)
            case BackendEjected(backend=backend, seconds=seconds):
                if seconds:
                    self._log.warning(
                        "backend.ejected",
                        **identity_of(backend),
                        seconds=seconds,
                        detail="it failed one exchange after the other: others are preferred for a while",
                    )
                publish("backend.ejected", **identity_of(backend), seconds=seconds)
            case BackendDrained(backend=backend):
                publish("backend.drained", **identity_of(backend))
            case BackendRemoved(backend=backend):
                publish("backend.removed", **identity_of(backend))
            case NothingExpected() if self.ending:
                return
            case NothingExpected(pool=pool):
                self._log.error(
                    "pool.hopeless", detail="nothing serves and nothing is coming: requests are answered 503"
                )
                publish("pool.hopeless", pool=pool)
            case PoolLocked(pool=pool, reason=reason):
                publish("pool.locked", pool=pool, reason=reason)
            case PoolUnlocked(pool=pool):
                publish("pool.unlocked", pool=pool)
            case PoolPaused(pool=pool, answer=answer):
                publish("pool.paused", pool=pool, answer=None if answer is None else answer.tell())
            case PoolResumed(pool=pool):
                publish("pool.resumed", pool=pool)


def identity_of(backend: Backend) -> dict[str, object]:
    """Give what an event names a backend by."""
    return {
        "pool": backend.pool,
        "slot": backend.slot,
        "generation": backend.generation,
        "backend": backend.id,
    }
