"""Letting go of a backend, as a table: what a data plane does next, by what is left of the backend's exchanges.

A withdrawal runs through stages, and never back:

| stage | lasts until | then |
|---|---|---|
| finishing | nothing is in flight, or the time to leave has come | tunnels are told to leave |
| parting | nothing is in flight, or the time is over | what is left is cut |
| disconnecting | no connection is left, or `DISCONNECT` seconds are over | what is left is cut |
| released | | |

Nothing here waits: `advance` is asked whenever an exchange or a connection of the backend has ended, and at `look_at`,
and says what is to be done. It goes by what is there and not by what has happened, so it may be asked too often, and
whatever was missed is seen the next time.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import inf
from typing import Final

from hotswap.core.http.exchange_view import ExchangeView

DISCONNECT: Final = 5.0
"""Seconds until connections are cut that closing them when they are idle has not ended."""


class WithdrawalStage(StrEnum):
    """How far a withdrawal is."""

    FINISHING = "finishing"
    PARTING = "parting"
    DISCONNECTING = "disconnecting"
    RELEASED = "released"


class WithdrawalAct(StrEnum):
    """What a data plane has to do."""

    PART_TUNNELS = "part-tunnels"
    """Have the tunnels closed in order, spread over the rest of the time."""
    CUT = "cut"
    """End by force what is in flight."""
    CLOSE_IDLE = "close-idle"
    """Close the connections over which nothing is under way."""
    ANSWER = "answer"
    """It is released: nothing is in flight, and no connection is left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """The answer to a release: nothing is in flight any more, and no connection is left.

    Attributes:
        cut: how many exchanges, tunnels included, were ended by force.
        exchanges: what they were, the oldest first.
    """

    cut: int = 0
    exchanges: tuple[ExchangeView, ...] = ()


class Withdrawal:
    """The withdrawal of one data plane from one backend; times are seconds of any clock.

    Args:
        deadline: when what is in flight is cut.
        leave_within: seconds before that in which tunnels are told to leave; with 0 they are cut with the rest.

    Attributes:
        stage: how far it is.
        look_at: when `advance` is to be asked at the latest.
    """

    __slots__ = ("_deadline", "look_at", "stage")

    def __init__(self, *, deadline: float, leave_within: float = 0.0) -> None:
        self.stage = WithdrawalStage.FINISHING
        self.look_at = deadline - leave_within
        self._deadline = deadline

    def advance(self, *, now: float, in_flight: int, connections: int) -> tuple[WithdrawalAct, ...]:
        """Take in what is left, and say what is to be done about it, in order.

        Args:
            now: the time.
            in_flight: exchanges that are claimed and not released.
            connections: connections that are open, idle ones included.
        """
        if self.stage is WithdrawalStage.FINISHING and in_flight and self.look_at <= now < self._deadline:
            self.stage, self.look_at = WithdrawalStage.PARTING, self._deadline
            return (WithdrawalAct.PART_TUNNELS,)
        if self.stage in (WithdrawalStage.FINISHING, WithdrawalStage.PARTING):
            if in_flight and now < self.look_at:
                return ()
            self.stage, self.look_at = WithdrawalStage.DISCONNECTING, now + DISCONNECT
            if in_flight:
                return (WithdrawalAct.CUT, WithdrawalAct.CLOSE_IDLE)
        if self.stage is WithdrawalStage.RELEASED:
            return ()
        if not in_flight and not connections:
            return self._answer()
        if now >= self.look_at:
            return (WithdrawalAct.CUT, *self._answer())
        return (WithdrawalAct.CLOSE_IDLE,)

    def _answer(self) -> tuple[WithdrawalAct, ...]:
        self.stage, self.look_at = WithdrawalStage.RELEASED, inf
        return (WithdrawalAct.ANSWER,)
