"""Passive health of one pool: who fails one exchange after the other is left out (`hotswap.core.pool.ejection`)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hotswap.core.pool.ejection import Conduct
from hotswap.core.pool.reports import Ejected
from hotswap.edge.loop.timers import NEVER

if TYPE_CHECKING:
    from collections.abc import Callable

    from hotswap.core.identity import BackendId
    from hotswap.core.pool.candidate import Candidate
    from hotswap.core.pool.claims import Claims
    from hotswap.core.pool.reports import Report
    from hotswap.edge.loop.plane import LoopPlane


class Ejections:
    """The conduct of the backends of one pool, and the ends of their ejections; control is told of each.

    `suspects` are those that failed since their last whole response; mostly none, and then a response costs nothing.
    """

    __slots__ = ("_claims", "_conducts", "_plane", "_tell", "armed", "deadline", "suspects")

    def __init__(self, plane: LoopPlane, claims: Claims, tell: Callable[[Report], None]) -> None:
        self._plane = plane
        self._claims = claims
        self._tell = tell
        self._conducts: dict[BackendId, Conduct] = {}
        self.suspects: dict[BackendId, Conduct] = {}
        self.deadline, self.armed = math.inf, NEVER

    def blame(self, backend: Candidate) -> None:
        """An exchange failed, and it was the backend's fault; one that is on its way out is not judged."""
        if not backend.claimable:
            return
        conduct = self._conducts.get(backend.id)
        if conduct is None:
            conduct = self._conducts[backend.id] = Conduct()
        now = self._plane.poller.now
        if conduct.fail(now):
            self.suspects.pop(backend.id, None)
            self._set_ejected(backend, conduct.ejected_until - now)
            self._rearm()
        else:
            self.suspects[backend.id] = conduct

    def acquit(self, backend: Candidate) -> None:
        """A backend gave a whole response, while there were suspects."""
        conduct = self.suspects.pop(backend.id, None)
        if conduct is not None:
            conduct.succeed()

    def forget(self, backend: Candidate) -> None:
        """A backend left the pool."""
        self._conducts.pop(backend.id, None)
        self.suspects.pop(backend.id, None)

    def _set_ejected(self, backend: Candidate, seconds: float) -> None:
        # Here at once; what control makes of it comes with its next view.
        self._claims.set_ejected(backend, seconds > 0)
        self._tell(Ejected(backend.id, seconds))

    def _rearm(self) -> None:
        ends = [
            conduct.ejected_until
            for backend in self._claims.candidates.values()
            if backend.ejected and (conduct := self._conducts.get(backend.id)) is not None
        ]
        if ends:
            self._plane.poller.timers.set(self, min(ends))

    def on_deadline(self) -> None:
        """A pause is over: the backend gets its share again."""
        now = self._plane.poller.now
        for backend in tuple(self._claims.candidates.values()):
            conduct = self._conducts.get(backend.id)
            if backend.ejected and (conduct is None or conduct.ejected_until <= now):
                self._set_ejected(backend, 0)
        self._rearm()

    def on_crash(self, error: Exception) -> None:
        """Contain a defect of ours."""
        self._plane.on_crash(error, "ejections")
