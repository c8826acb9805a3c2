"""Register of the rollouts that were accepted: numbers them, performs them in order, keeps the last ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import trio
from structlog.typing import FilteringBoundLogger

from hotswap.control.rollout.rollouts import RolloutRun
from hotswap.core.errors import NotFound
from hotswap.core.identity import RolloutId
from hotswap.core.rollout.commands import Outcome
from hotswap.core.rollout.report import RolloutReport
from hotswap.core.rollout.rollout import Rollout

REMEMBERED = 20
"""How many rollouts are kept, the running ones among them; the oldest that have ended are forgotten."""


class RolloutBook:
    """The rollouts of a proxy process, and the reports of those of the processes that it took over from.

    Attributes:
        last: the number of the last id that was given and not given back.
    """

    def __init__(self, log: FilteringBoundLogger) -> None:
        self._log = log
        self._runs: dict[RolloutId, RolloutRun] = {}
        self._past: tuple[RolloutReport, ...] = ()
        self._unused: set[RolloutId] = set()
        self.last = 0

    def restore(self, last: int, reports: Iterable[RolloutReport] = ()) -> None:
        """Go on behind the ids of another process, and remember what it remembers."""
        self.last = last
        self._past = tuple(reports)[-REMEMBERED:]

    def ended(self) -> tuple[RolloutReport, ...]:
        """Give the reports of those that have ended and are remembered, the newest last."""
        now = trio.current_time()
        ended = (run.rollout.report(now) for run in self._runs.values() if not run.rollout.in_progress)
        return (*self._past, *ended)

    def next_id(self) -> RolloutId:
        """Give an id that no rollout of this process had."""
        self.last += 1
        return RolloutId(f"r{self.last}")

    def give_back(self, rollout_id: RolloutId) -> None:
        """Take back an id that leads to no rollout, because the trigger was refused; the next one has it."""
        self._unused.add(rollout_id)
        # One that a later trigger holds already keeps its own.
        while (last := RolloutId(f"r{self.last}")) in self._unused:
            self._unused.discard(last)
            self.last -= 1

    def rollouts(self) -> Sequence[Rollout | RolloutReport]:
        """Give those that are remembered, the newest last."""
        return (*self._past, *(run.rollout for run in self._runs.values()))

    async def look(self) -> None:
        """Note in those that run what their drains wait for, as it is now."""
        for run in tuple(self._runs.values()):
            await run.look_at_drain()

    def find(self, rollout_id: str) -> Rollout | RolloutReport:
        """Give one of them.

        Raises:
            NotFound: none of this id is remembered.
        """
        rollouts = {rollout.id: rollout for rollout in self.rollouts()}
        found = rollouts.get(RolloutId(rollout_id))
        if found is None:
            raise NotFound("rollout", rollout_id, rollouts)
        return found

    async def wait_ended(self, rollout_id: str) -> Rollout | RolloutReport:
        """Block until one of them has ended, and give it.

        Raises:
            NotFound: none of this id is remembered.
        """
        found = self.find(rollout_id)
        run = self._runs.get(found.id)
        if run is not None:
            await run.ended.wait()
        return found

    def unfinished(self) -> Sequence[RolloutRun]:
        """Give those that have not ended, those included whose turn has not come."""
        return tuple(run for run in self._runs.values() if run.rollout.in_progress)

    def waiting(self) -> Sequence[RolloutRun]:
        """Give those whose turn has not come."""
        return tuple(run for run in self.unfinished() if not run.begun)

    def start(self, runs: Sequence[RolloutRun], nursery: trio.Nursery) -> None:
        """Take rollouts in and perform them one after the other.

        When one does not come to its end as planned, those behind it are aborted: one deploy is often rolled
        over several pools, and what broke in the first is likely to break in the next. One of a pool in which nothing
        served before says nothing of the deploy, and ends no other.
        """
        for run in runs:
            self._runs[run.rollout.id] = run
        self._past = self._past[max(0, len(self._past) + len(self._runs) - REMEMBERED) :]
        ended = [id for id, run in self._runs.items() if not run.rollout.in_progress]
        for forgotten in ended[: max(0, len(self._runs) - REMEMBERED)]:
            del self._runs[forgotten]
        nursery.start_soon(self._perform, runs)

    async def _perform(self, runs: Sequence[RolloutRun]) -> None:
        broken: RolloutRun | None = None
        for run in runs:
            if broken is not None and run.rollout.in_progress:
                run.abort(f"{broken.rollout.id}-{broken.rollout.outcome}")
            if run.rollout.in_progress:
                await run.perform()
            # One that was dropped says nothing about the others, nor does one that only failed to repair.
            failed_to_repair = run.rollout.outcome is Outcome.FAILED and not run.rollout.served
            if run.rollout.outcome is not Outcome.DONE and not failed_to_repair and not run.dropped:
                broken = broken or run
