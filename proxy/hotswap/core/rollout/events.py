"""Events of a rollout, in the past tense.

Events about a step name its slot, so that a fact that comes late, about a slot whose turn is over, is
recognised and dropped. Which process a fact is about is told by the slot *and* the generation
(`Rollout.role_of`), never by "the next process that starts".
"""

from __future__ import annotations

from dataclasses import dataclass

from hotswap.core.errors import StartFailure


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotEvent:
    """What happened in one slot."""

    slot: int


class StepStarted(SlotEvent):
    """The slot's turn has come, and its old backend is ready."""


class SlotFoundEmpty(SlotEvent):
    """The slot's turn has come; nothing serves in it and no start is under way."""


class ReplacementReady(SlotEvent):
    """The replacement is ready and healthy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplacementFailed(SlotEvent):
    """The replacement did not become ready; its process may still be alive.

    Attributes:
        reason: which of the ways it failed.
        detail: what happened, one sentence.
        output: the last lines it wrote, oldest first.
    """

    reason: StartFailure
    detail: str = ""
    output: tuple[str, ...] = ()


class ReplacementGone(SlotEvent):
    """The replacement was killed as ordered (or was dead already) and is reaped."""


class OldDrained(SlotEvent):
    """The old backend has nothing in flight."""


class DrainTimedOut(SlotEvent):
    """`drain_timeout` seconds have passed since the old backend began to drain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OldExited(SlotEvent):
    """The old backend is gone, as ordered or by itself.

    Attributes:
        killed: it took SIGKILL.
    """

    killed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AbortRequested:
    """Somebody wants the rollout to end: at once where that costs nothing, else after the slot at hand.

    Attributes:
        reason: one word for the report: `aborted` by an operator, or `shutting-down`.
    """

    reason: str = "aborted"


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotsSeen:
    """The slots of the pool were looked at, between two steps.

    Attributes:
        ready: slots with a claimable backend (`Pool.ready_slots`).
        lost: slots without a ready backend and with none expected (`Pool.lost_slots`).
        vacant: slots in which nothing lives that has ever been ready, so that there is nothing to drain.
        drained: slots that an operator has taken out of rotation and whose backend lives.
        unwell: slots whose backend lives and serves nobody, because its probes fail.
    """

    ready: frozenset[int]
    lost: frozenset[int]
    vacant: frozenset[int] = frozenset()
    drained: frozenset[int] = frozenset()
    unwell: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitTimedOut:
    """Between two steps, the slots did not all become ready or lost in time."""


_Reported = (
    ReplacementReady | ReplacementFailed | ReplacementGone | OldDrained | DrainTimedOut | OldExited | AbortRequested
)

StepEvent = StepStarted | SlotFoundEmpty | _Reported
"""What a step reacts to; `StepStarted` and `SlotFoundEmpty` come from the rollout, the others from
outside."""

RolloutEvent = SlotsSeen | WaitTimedOut | _Reported
"""What a rollout reacts to."""
