"""The rollout that is being performed, as far as its pool has to know it."""

from __future__ import annotations

from typing import Protocol

from hotswap.core.pool import Backend
from hotswap.core.rollout import Rollout


class RolloutAtHand(Protocol):
    """What the pool asks of it, and tells it."""

    @property
    def rollout(self) -> Rollout:
        """The machine that decides."""

    def note_exit(self, backend: Backend) -> None:
        """Take in that a backend died which nobody had told to go."""
