"""Report of a rollout, while it runs and afterwards: frozen values that go into JSON as they are."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import datetime

from hotswap.core.http.exchange_view import ExchangeView
from hotswap.core.identity import RolloutId
from hotswap.core.rollout.commands import Outcome
from hotswap.core.rollout.step_table import StepState
from hotswap.core.strategy import Strategy


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeCounts:
    """Exchanges drained, retried, held and cut in a slot's turn.

    Attributes:
        drained: were in flight when the drain began, and ended by themselves.
        retried: were sent to another backend, because the first one could not take them.
        held: waited until something was claimable.
        cut: were ended by force, at the deadline of the drain or by the death of the backend.
        tunnels_closed: tunnels (WebSockets) among the drained that were closed in order in its last quarter.
        longest_delay: the longest time that any of them waited for the rollout's sake, in seconds.
    """

    drained: int = 0
    retried: int = 0
    held: int = 0
    cut: int = 0
    tunnels_closed: int = 0
    longest_delay: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseSeconds:
    """Duration of each phase of a slot's turn in seconds; phases overlap, so they do not sum up to `total`.

    Attributes:
        starting: from the spawn of the replacement until it was ready, or had failed.
        draining: from the order to drain until nothing was in flight, or until that was cut or called off.
        stopping: from the order to stop until the old process was gone.
        total: the whole turn.
    """

    starting: float = 0.0
    draining: float = 0.0
    stopping: float = 0.0
    total: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseOffsets:
    """Start of each phase of a slot's turn, in seconds after that of the rollout; None: not yet, or never.

    Attributes:
        turn: the turn itself.
        starting, draining, stopping: as in `PhaseSeconds`.
    """

    turn: float | None = None
    starting: float | None = None
    draining: float | None = None
    stopping: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotReport:
    """Report of one slot's turn.

    Attributes:
        slot: its number.
        state: how far it came; `pending` for a slot that was never touched.
        rollback: the turn was part of the way back.
        old_generation: what it held before.
        new_generation: what it was to hold.
        seconds: how long the phases took.
        offsets: when they began.
        exchanges: what became of the exchanges.
        waited_for: what its drain waits for, the oldest first; after its end, what was cut.
        killed: the old process took SIGKILL.
        reason: why it failed, in one word; None if it did not.
        detail: the same in a sentence.
    """

    slot: int
    state: StepState
    rollback: bool = False
    old_generation: int
    new_generation: int
    seconds: PhaseSeconds = field(default_factory=PhaseSeconds)
    offsets: PhaseOffsets = field(default_factory=PhaseOffsets)
    exchanges: ExchangeCounts = field(default_factory=ExchangeCounts)
    waited_for: tuple[ExchangeView, ...] = ()
    killed: bool = False
    reason: str | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutReport:
    """Report of one rollout, so far or to its end.

    Attributes:
        id: its id.
        pool: the pool it replaces.
        trigger: what started it, such as `signal`, `api` or `cli`.
        strategy: how backends are replaced.
        generation: the number its backends carry.
        outcome: `running` until it has ended.
        reason: why it failed or was aborted, in one word; None when it was not.
        detail: the same in a sentence.
        started: when it began, by the wall clock.
        seconds: how long it took, or has taken so far.
        rolled_back: it failed, and every slot it had replaced is back at the release pinned before.
        locked: it left the pool locked.
        slots: the turns in the order they were taken; then those never taken.
        output: the last lines of the backend that failed, oldest first.
    """

    id: RolloutId
    pool: str
    trigger: str
    strategy: Strategy
    generation: int
    outcome: Outcome
    reason: str | None
    detail: str
    started: datetime
    seconds: float
    rolled_back: bool
    locked: bool
    slots: tuple[SlotReport, ...]
    output: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """The report as plain JSON values; the keys are the names of the fields, `started` is ISO 8601."""
        document: dict[str, object] = asdict(self)
        document["started"] = self.started.isoformat()
        return document
