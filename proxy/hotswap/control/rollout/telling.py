"""Log lines, events and counts of a rollout that is performed."""

from __future__ import annotations

import logging
from typing import Final

from structlog.typing import FilteringBoundLogger

from hotswap.control.pools.supervised_pool import SupervisedPool
from hotswap.core.errors import StartFailure
from hotswap.core.rollout.commands import Outcome
from hotswap.core.rollout.report import RolloutReport, SlotReport
from hotswap.core.rollout.rollout import Rollout
from hotswap.core.rollout.step import Step
from hotswap.core.rollout.step_table import StepState
from hotswap.core.tally import Histogram

TURN_ENDS: Final = {
    StepState.DONE: ("rollout.slot_done", logging.INFO),
    StepState.ABORTED: ("rollout.slot_aborted", logging.WARNING),
    StepState.FAILED: ("rollout.slot_failed", logging.ERROR),
}
"""How the end of a slot's turn is told."""


class RolloutTelling:
    """Logs, publishes and counts what one rollout does.

    Attributes:
        log: for whatever else is to be said about it.
    """

    def __init__(self, pool: SupervisedPool, rollout: Rollout) -> None:
        self.log: FilteringBoundLogger = pool.log.bind(rollout=rollout.id)
        self._pool = pool
        self._rollout = rollout
        self._surroundings = pool.surroundings

    def started(self) -> None:
        """Tell that the rollout begins."""
        rollout = self._rollout
        self.log.info(
            "rollout.started",
            trigger=rollout.trigger,
            generation=rollout.generation,
            strategy=rollout.strategy.value,
            directory=self._pool.releases[rollout.generation].directory,
        )
        self._publish("rollout.started", trigger=rollout.trigger, generation=rollout.generation)

    def turn_began(self, step: Step) -> None:
        """Tell that the turn of a slot begins."""
        self.log.info("rollout.slot_started", slot=step.slot, rollback=step.rollback)

    def step_moved(self, step: Step) -> None:
        """Tell that a turn came to another state."""
        self._publish("rollout.step", slot=step.slot, state=step.state.value, rollback=step.rollback)

    def replacement_failed(self, slot: int, reason: StartFailure, detail: str, output: tuple[str, ...]) -> None:
        """Tell that a replacement did not become ready."""
        self.log.error("rollout.replacement_failed", slot=slot, reason=reason.value, detail=detail, output=list(output))

    def turn_ended(self, report: SlotReport) -> None:
        """Tell that the turn of a slot is over: done, failed or aborted."""
        exchanges = report.exchanges
        event, level = TURN_ENDS[report.state]
        self.log.log(
            level,
            event,
            slot=report.slot,
            seconds=round(report.seconds.total, 3),
            drained=exchanges.drained,
            retried=exchanges.retried,
            held=exchanges.held,
            cut=exchanges.cut,
            killed=report.killed,
        )
        self._publish(event, slot=report.slot, state=report.state.value, rollback=report.rollback)

    def ended(self, outcome: Outcome, report: RolloutReport) -> None:
        """Tell and count that the rollout is over."""
        document = report.to_json()
        tally = self._surroundings.tally
        tally.rollouts[self._pool.name, outcome.value] += 1
        tally.rollout_duration.setdefault(self._pool.name, Histogram()).observe(report.seconds)
        seconds = round(report.seconds, 3)
        if outcome is Outcome.DONE:
            self.log.info("rollout.done", generation=self._rollout.generation, seconds=seconds)
        else:
            log = self.log.warning if outcome is Outcome.ABORTED else self.log.error
            told = {key: document[key] for key in ("reason", "detail", "rolled_back", "locked", "output")}
            log(f"rollout.{outcome}", **told)
        self.log.info("rollout.report", report=document)
        self._publish("rollout.report", report=document)
        told = {key: document[key] for key in ("outcome", "reason", "detail")}
        self._publish(f"rollout.{outcome}", **told, seconds=seconds)

    def _publish(self, kind: str, **fields: object) -> None:
        self._surroundings.events.publish(kind, pool=self._pool.name, rollout=self._rollout.id, **fields)
