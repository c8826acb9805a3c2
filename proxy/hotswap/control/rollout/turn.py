"""State of one slot's turn in a rollout: the backends at hand, and the counts when it began."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import trio

from hotswap.control.pools.supervised_backend import SupervisedBackend
from hotswap.control.pools.surroundings import Plane
from hotswap.core.http.exchange_view import SHOWN, ExchangeView
from hotswap.core.identity import RolloutId
from hotswap.core.pool.counts import PoolCounts
from hotswap.core.pool.lifecycle import BackendState
from hotswap.core.rollout.report import ExchangeCounts
from hotswap.core.rollout.step import Step
from hotswap.core.rollout.step_table import StepState


# Not frozen: it is filled in while the turn lasts.
@dataclass(slots=True, kw_only=True, eq=False)
class Turn:
    """What is at hand while one slot is replaced.

    Attributes:
        step: the core's view of it.
        old: the backend that goes; None when there is none.
        new: its replacement, once it is spawned.
        starting: ends the wait for the replacement.
        in_flight: exchanges in the old backend when it began to drain.
        overdue: the old backend has had its `drain_timeout`: what is in flight is cut before it is retired.
        cut: exchanges that were ended by force.
        before: the pool's totals when the turn began.
        told: the state of its step that was told last.
    """

    step: Step
    old: SupervisedBackend | None
    new: SupervisedBackend | None = None
    starting: trio.CancelScope
    in_flight: int = 0
    overdue: bool = False
    cut: int = 0
    before: PoolCounts
    told: StepState | None = None

    def enter(self, rollout: RolloutId) -> None:
        """Have the lines about the old backend carry the rollout's id; those about the new one do from the start."""
        if self.old is not None:
            self.old.enter(rollout)

    def leave(self) -> None:
        """Have no more lines about either carry it: the turn is over."""
        for member in (self.old, self.new):
            if member is not None:
                member.leave()

    def note_cut(self, cut: int, views: Sequence[ExchangeView]) -> None:
        """Count exchanges that were cut, and keep what the oldest of them were for the report."""
        known = self.step.waited_for if self.cut else ()
        self.cut += cut
        self.step.waited_for = (*known, *views)

    async def look_at_drain(self, plane: Plane) -> None:
        """Note in the step what its drain waits for, as it is now; nothing when something was cut already."""
        if self.old is None or self.cut or self.step.ended:
            return
        backend = self.old.backend
        draining = backend.state is BackendState.DRAINING and plane.in_flight(backend)
        self.step.waited_for = tuple((await plane.exchanges_in(backend))[:SHOWN]) if draining else ()

    def counts(self, totals: PoolCounts) -> ExchangeCounts:
        """Give what became of the exchanges that this turn touched, from the pool's totals now."""
        held = totals.held - self.before.held
        return ExchangeCounts(
            drained=max(0, self.in_flight - self.cut),
            retried=totals.retried - self.before.retried,
            held=held,
            cut=self.cut,
            tunnels_closed=totals.tunnels_closed - self.before.tunnels_closed,
            longest_delay=totals.longest_hold if held else 0.0,
        )
