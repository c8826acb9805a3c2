"""A pool with the claims of one data plane on it, joined as in one process, without sockets."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from hotswap.core.identity import BackendId
from hotswap.core.pool.backend import Backend
from hotswap.core.pool.candidate import Candidate
from hotswap.core.pool.claims import Claims
from hotswap.core.pool.outlook import Outlook
from hotswap.core.pool.pool import Pool
from hotswap.core.pool.view import Applied, PoolView


class JoinedPool(Pool):
    """A pool whose backends can be claimed.

    Attributes:
        claims: those of the data plane.
        rooms: how often it was told that a full backend has room again.
    """

    __slots__ = ("_candidates", "claims", "rooms")

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.rooms = 0
        self._candidates: dict[BackendId, Candidate] = {}
        self.claims = Claims(self.view(), on_room=self._count_room, on_released=self._note_released)
        self.publish_to(self._apply)

    def _apply(self, view: PoolView) -> Applied:
        applied = self.claims.apply(view)
        self._candidates.update(self.claims.candidates)
        return applied

    def _count_room(self) -> None:
        self.rooms += 1

    def _note_released(self, candidate: Candidate) -> None:
        if not candidate.in_flight:
            self.note_idle(candidate.id, self.claims.view.version)

    def candidate(self, backend: Backend) -> Candidate:
        """A backend as the data plane sees it, or saw it last."""
        return self._candidates[backend.id]

    def claim(self, excluding: Collection[BackendId] = ()) -> Backend | None:
        """Claim, and give control's side of what was chosen."""
        candidate = self.claims.claim(excluding)
        return None if candidate is None else next(one for one in self.backends if one.id == candidate.id)

    def release(self, backend: Backend) -> None:
        """Release a claim."""
        self.claims.release(self.candidate(backend))

    def in_flight(self, backend: Backend) -> int:
        """How many claims a backend has."""
        return self.candidate(backend).in_flight

    def outlook(self) -> Outlook:
        """What a request can expect."""
        return self.claims.outlook()

    def eject(self, backend: Backend, seconds: float) -> None:
        """As the data plane does it: there at once, then told."""
        candidate = self.claims.candidates.get(backend.id)
        if candidate is not None:
            self.claims.set_ejected(candidate, seconds > 0)
        self.note_ejected(backend.id, seconds)
