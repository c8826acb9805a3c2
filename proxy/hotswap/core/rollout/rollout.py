"""State machine of a rollout: whose turn is next, and how it ends.

It replaces every backend of a pool, one slot at a time, and is a machine without a clock: facts go in (`on`),
orders come out, whoever performs them brings the next facts.

A rollout repairs: slots that are vacant when it begins are filled first, all at once, straight from the new release,
because there is nothing to drain. Then the others have their turn one at a time, those first that serve nobody anyway
(unwell, or drained by an operator, which they stay). Between two turns it *waits* until every slot is ready, so that it
never takes a second one out of rotation. Slots for which no backend is expected do not hold it up: a queued one has its
turn first, and one that was replaced and did not stay up fails the rollout. One at a time also means: the queue is a
snapshot of slots and generations, so a slot that crashes before its turn is respawned by its supervisor, and what came
back is replaced, once.

| direction | ends when | outcome |
|---|---|---|
| forward | the queue is empty | `done` |
| forward | an abort was asked for, after the step at hand | `aborted` (`done` if that was the last one) |
| forward | a replacement fails, or slots are lost, and `on_failure` is `lock` | `failed`, pool locked |
| back | every slot that was replaced, or emptied, is as it was | `failed`, not locked |
| back | a replacement fails, slots are lost, or it is aborted | `failed`, pool locked |

The way back leads to a release that serves. So a slot that was vacant when it began and could not be filled is left
vacant, as it was: the supervisor goes on with it after the end. And where nothing served when it began, slots that were
filled keep the only release that ever served, and the pool is locked as with `lock`.

`force_end` is for the performer's own faults: whatever happens, "in progress" ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import assert_never

from hotswap.core.identity import RolloutId
from hotswap.core.rollout.commands import Command, EndRollout, LockPool, Outcome, WaitForSlots
from hotswap.core.rollout.events import (
    AbortRequested,
    RolloutEvent,
    SlotEvent,
    SlotFoundEmpty,
    SlotsSeen,
    StepEvent,
    StepStarted,
    WaitTimedOut,
)
from hotswap.core.rollout.queue import QueuedSlot
from hotswap.core.rollout.report import RolloutReport
from hotswap.core.rollout.step import Step
from hotswap.core.rollout.step_table import StepState
from hotswap.core.strategy import OnFailure, Strategy


class Role(StrEnum):
    """Role of a process in the current step."""

    OLD = "old"
    REPLACEMENT = "replacement"


class Rollout:
    """One rollout of one pool.

    Attributes:
        id: its id.
        pool: the name of the pool.
        trigger: what started it, for the report.
        strategy: how backends are replaced.
        on_failure: what becomes of the pool if it fails.
        generation: the number its backends carry.
        size: number of slots of the pool.
        outcome: `running` until it has ended.
        reason: why it failed or was aborted, in one word, or None.
        detail: the same in a sentence.
        output: the last lines of the backend that failed.
        locked: it ordered the pool to be locked.
        rolling_back: it goes backward.
        rolled_back: it went backward to the end.
        at_hand: the steps at hand by slot, several only where slots are filled that were empty.
        steps: every step begun, in order.
        served: something served, or was kept from it by an operator or its probes, when it began.
    """

    def __init__(
        self,
        *,
        id: RolloutId,
        pool: str,
        trigger: str,
        strategy: Strategy,
        on_failure: OnFailure,
        generation: int,
        queue: Sequence[QueuedSlot],
        size: int,
        started: datetime,
        now: float,
    ) -> None:
        """Plan it; nothing is to be done before `begin`.

        Args:
            queue: the slots in the order of their turns, from `plan_queue`.
            started: the moment on the wall clock, from which that of the beginning is reckoned for the report.
            now: the same moment on the clock that all later times are on, in seconds.
        """
        self.id = id
        self.pool = pool
        self.trigger = trigger
        self.strategy = strategy
        self.on_failure = on_failure
        self.generation = generation
        self.size = size
        self.outcome = Outcome.RUNNING
        self.reason: str | None = None
        self.detail = ""
        self.output: tuple[str, ...] = ()
        self.locked = False
        self.rolling_back = False
        self.rolled_back = False
        self.at_hand: dict[int, Step] = {}
        self.steps: list[Step] = []
        self._queue = [self._forward_step(queued) for queued in queue]
        self._slots = frozenset(queued.slot for queued in queue)
        self._looked = False
        self.served = True
        self._vacant: frozenset[int] = frozenset()
        self._failure: tuple[str, str] | None = None
        self._untouched: list[Step] = []
        self._abort: AbortRequested | None = None
        self._started = started
        self._planned = now
        self._began: float | None = None
        self._ended: float | None = None

    @property
    def in_progress(self) -> bool:
        """Whether it has not ended."""
        return self.outcome is Outcome.RUNNING

    @property
    def step(self) -> Step | None:
        """The current step, the first of them; None while it waits, and at the end."""
        return next(iter(self.at_hand.values()), None)

    def begin(self, *, now: float) -> tuple[Command, ...]:
        """Start; an empty queue is done at once.

        What it waited for before, such as the rollouts of other pools, is not its time.
        """
        self._began = now
        return self._next(now)

    def on(self, event: RolloutEvent, *, now: float) -> tuple[Command, ...]:
        """Process an event, and give the commands that follow, in this order.

        Facts about a slot whose turn is over, and any fact after the end, are dropped: they are true, late,
        and nothing follows from them.

        Raises:
            UnexpectedEvent: the fact cannot be, in the state of the step at hand; nothing was changed.
        """
        if not self.in_progress:
            return ()
        match event:
            case SlotsSeen():
                return () if self.at_hand else self._look(event, now)
            case WaitTimedOut():
                if self.at_hand:
                    return ()
                return self._fail("slots-not-ready", "the slots of the pool did not all become ready in time", now)
            case AbortRequested():
                return self._request_abort(event, now)
            case SlotEvent():
                step = self.at_hand.get(event.slot)
                return () if step is None else self._advance(step, event, now)
            case _:
                assert_never(event)

    def force_end(self, detail: str, *, now: float) -> tuple[Command, ...]:
        """End it in whatever state, because its executor cannot go on; the pool is locked.

        Returns:
            What remains to be done; nothing if it has ended already.
        """
        if not self.in_progress:
            return ()
        self._give_reason("internal", detail)
        return self._end(Outcome.FAILED, now, lock=True)

    # Who is who.

    def role_of(self, slot: int, generation: int) -> Role | None:
        """The role of a process of this slot and generation in the current step; None if it has none."""
        step = self.at_hand.get(slot)
        if step is None:
            return None
        if generation == step.new_generation:
            return Role.REPLACEMENT
        return Role.OLD if generation == step.old_generation else None

    def respawned_by_supervisor(self, slot: int, generation: int) -> bool:
        """Whether a crash of such a process is an ordinary one, followed by an ordinary respawn.

        It is not when the rollout itself fills the slot next: the old backend of the step at hand, its
        replacement before it was admitted, and a slot left empty by a failed step that a rollback will
        refill. Nor is it in a slot that a rollback leaves vacant until its end.
        """
        if not self.in_progress:
            return True
        if any(queued.slot == slot and queued.old_gone for queued in self._queue):
            return False
        if self.rolling_back and slot in self._left_vacant():
            return False
        match self.role_of(slot, generation):
            case None:
                return True
            case Role.OLD:
                return False
            case Role.REPLACEMENT:
                step = self.at_hand[slot]
                admitted = step.strategy is not Strategy.STOP_FIRST
                return admitted and step.state in (StepState.DRAINING, StepState.STOPPING)

    # Steps.

    def _forward_step(self, queued: QueuedSlot) -> Step:
        return Step(
            self.strategy,
            slot=queued.slot,
            old_generation=queued.generation,
            new_generation=self.generation,
        )

    def _backward_step(self, done: Step) -> Step:
        return Step(
            self.strategy,
            slot=done.slot,
            old_generation=done.new_generation,
            new_generation=done.old_generation,
            rollback=True,
            old_gone=done.state is not StepState.DONE,
        )

    def _next(self, now: float) -> tuple[Command, ...]:
        if not self._queue:
            if self.rolling_back:
                self.rolled_back = True
                return self._end(Outcome.FAILED, now)
            return self._end(Outcome.DONE, now)
        if self._abort is not None:
            return self._end_aborted(self._abort, now)
        return (WaitForSlots(),)

    def _look(self, seen: SlotsSeen, now: float) -> tuple[Command, ...]:
        finished = {
            step.slot for step in self.steps if step.state is StepState.DONE and step.rollback is self.rolling_back
        }
        # What an operator has drained serves nobody either, and is well.
        lost = seen.lost - seen.drained - seen.unwell
        first, self._looked = not self._looked, True
        if first:
            self._vacant = seen.vacant
            self.served = bool(seen.ready | seen.drained | seen.unwell)
        vacant = seen.vacant if first else frozenset()
        fallen = sorted(finished & lost)
        if fallen:
            slots = ", ".join(str(slot) for slot in fallen)
            return self._fail("slot-lost", f"slot {slots} did not stay up after it was replaced", now)
        # What is out of rotation anyway has its turn first: that cannot make things worse.
        empty = [step for step in self._queue if step.old_gone or step.slot in lost | vacant]
        aside = [step for step in self._queue if step.slot in seen.unwell | seen.drained]
        settled = seen.ready | lost | seen.drained | {step.slot for step in (*empty, *aside)}
        if self.rolling_back:
            settled |= self._left_vacant()
        if not settled.issuperset(self._slots) and not (first and empty):
            return ()
        if not empty:
            step = aside[0] if aside else self._queue[0]
            return self._take_up(step, StepStarted(slot=step.slot), now)
        commands: tuple[Command, ...] = ()
        for step in empty:
            commands += self._take_up(step, SlotFoundEmpty(slot=step.slot), now)
        return commands

    def _take_up(self, step: Step, begin: StepEvent, now: float) -> tuple[Command, ...]:
        self._queue.remove(step)
        self.at_hand[step.slot] = step
        self.steps.append(step)
        return self._advance(step, begin, now)

    def _advance(self, step: Step, event: StepEvent, now: float) -> tuple[Command, ...]:
        commands: tuple[Command, ...] = step.on(event, now=now)
        if not step.ended:
            return commands
        del self.at_hand[step.slot]
        if step.state is StepState.FAILED and self._failure is None:
            failure = step.failure
            assert failure is not None, "the table leads to failed only past a failure"
            self.output = self.output or failure.output
            detail = f"the replacement in slot {step.slot} failed: {failure.detail or failure.reason}"
            self._failure = failure.reason.value, detail
            for other in tuple(self.at_hand.values()):
                # They would come up from a release that was just found wanting.
                commands += other.on(AbortRequested(), now=now)
        if self.at_hand:
            return commands
        if self._failure is not None:
            (reason, detail), self._failure = self._failure, None
            return commands + self._fail(reason, detail, now)
        if self._abort is not None and any(one.state is StepState.ABORTED for one in self.steps):
            return commands + self._end_aborted(self._abort, now)
        return commands + self._next(now)

    # Ends.

    def _request_abort(self, event: AbortRequested, now: float) -> tuple[Command, ...]:
        if self._abort is not None:
            return ()
        self._abort = event
        if not self.at_hand:
            return self._end_aborted(event, now)
        commands: tuple[Command, ...] = ()
        for step in tuple(self.at_hand.values()):
            commands += self._advance(step, event, now)
        return commands

    def _end_aborted(self, abort: AbortRequested, now: float) -> tuple[Command, ...]:
        if self.rolling_back:
            # It failed before it was aborted, and what is there now is a mixture.
            self._give_reason(abort.reason, f"the rollback was ended: {abort.reason}")
            return self._end(Outcome.FAILED, now, lock=True)
        by = "by an operator" if abort.reason == Outcome.ABORTED else f"because of {abort.reason}"
        self._give_reason(abort.reason, f"ended {by} before every slot was replaced")
        return self._end(Outcome.ABORTED, now)

    def _fail(self, reason: str, detail: str, now: float) -> tuple[Command, ...]:
        self._give_reason(reason, detail)
        replaced = [step for step in reversed(self.steps) if step.state is StepState.DONE]
        if self.rolling_back or self.on_failure is OnFailure.LOCK or (replaced and not self.served):
            return self._end(Outcome.FAILED, now, lock=True)
        self.rolling_back = True
        self._untouched = self._queue
        left = self._left_vacant()
        emptied = [
            step for step in self.steps if step.state is not StepState.DONE and step.old_gone and step.slot not in left
        ]
        self._queue = [self._backward_step(step) for step in (*emptied, *replaced)]
        return self._next(now)

    def _left_vacant(self) -> frozenset[int]:
        """Slots that were vacant when it began, and that it did not fill."""
        return self._vacant - {step.slot for step in self.steps if step.state is StepState.DONE and not step.rollback}

    def _give_reason(self, reason: str, detail: str) -> None:
        # The first reason is the reason; what went wrong on the way back is added to the sentence.
        self.reason = self.reason or reason
        self.detail = f"{self.detail}; then {detail}" if self.detail else detail

    def _end(self, outcome: Outcome, now: float, *, lock: bool = False) -> tuple[Command, ...]:
        self.outcome = outcome
        self.at_hand = {}
        self.locked = lock
        self._ended = now
        end = EndRollout(outcome=outcome)
        return (LockPool(reason=f"rollout {self.id} failed: {self.detail}"), end) if lock else (end,)

    # What it tells.

    def report(self, now: float) -> RolloutReport:
        """Report of the rollout, so far or to its end."""
        end = now if self._ended is None else self._ended
        began = end if self._began is None else self._began
        return RolloutReport(
            id=self.id,
            pool=self.pool,
            trigger=self.trigger,
            strategy=self.strategy,
            generation=self.generation,
            outcome=self.outcome,
            reason=self.reason,
            detail=self.detail,
            started=self._started + timedelta(seconds=began - self._planned),
            seconds=end - began,
            rolled_back=self.rolled_back,
            locked=self.locked,
            slots=tuple(step.report(now, origin=began) for step in (*self.steps, *self._queue, *self._untouched)),
            output=self.output,
        )
