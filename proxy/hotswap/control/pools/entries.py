"""A pool's entries, changed by the supervisor: the same calls as the pool's own, and none of them raises.

A change has been made when its observers are told, so an observer that fails is a defect of ours that must not
break off what the supervisor is in the middle of; it is logged.
"""

from __future__ import annotations

from collections.abc import Callable

import trio
from structlog.typing import FilteringBoundLogger

from hotswap.core.backend import Backend
from hotswap.core.lifecycle import TRANSITIONS, BackendState, Health
from hotswap.core.pool import Pool


class Entries:
    """The backends of one pool."""

    def __init__(self, core: Pool, log: FilteringBoundLogger) -> None:
        self.core = core
        self._log = log

    def tell(self, change: Callable[[], object]) -> None:
        """Make a change; what goes wrong with its observers is logged."""
        try:
            change()
        except ExceptionGroup as faults:
            self._log.error("pool.observer_crashed", exc_info=faults)

    def move(self, backend: Backend, state: BackendState) -> None:
        """Change what a backend is for.

        Raises:
            IllegalTransition: the lifecycle has no such row; a defect of the caller.
        """
        self.tell(lambda: self.core.move(backend, state, now=trio.current_time()))

    def admit(self, backend: Backend, *, drained: bool = False, health: Health = Health.HEALTHY) -> None:
        """Make a backend that was found ready claimable if it is healthy, or only ready to be, in a drained slot."""
        # Its health last: so one that is drained is never claimable in between.
        self.move(backend, BackendState.READY)
        if drained:
            self.move(backend, BackendState.DRAINING)
        self.tell(lambda: self.core.set_health(backend, health))

    def remove(self, backend: Backend) -> None:
        """Forget a backend; harmless when it is forgotten."""
        if backend in self.core.backends:
            self.tell(lambda: self.core.remove(backend))

    def bury(self, backend: Backend) -> None:
        """Forget a backend that is dead or as good as dead, as stopped where its state allows it."""
        if BackendState.STOPPED in TRANSITIONS[backend.state]:
            self.move(backend, BackendState.STOPPED)
        self.remove(backend)
