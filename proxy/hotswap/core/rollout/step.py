"""State machine of one slot's turn, with the times of its phases for the report."""

from __future__ import annotations

from hotswap.core.http.exchange_view import ExchangeView
from hotswap.core.rollout.commands import (
    AdmitReplacement,
    DrainOld,
    ReadmitOld,
    RetireOld,
    SpawnReplacement,
    StepCommand,
)
from hotswap.core.rollout.events import OldDrained, OldExited, ReplacementFailed, SlotFoundEmpty, StepEvent
from hotswap.core.rollout.report import ExchangeCounts, PhaseOffsets, PhaseSeconds, SlotReport
from hotswap.core.rollout.step_table import TABLES, StepState
from hotswap.core.state_machine import Machine
from hotswap.core.strategy import Strategy


class Span:
    """Time span of one phase: the seconds between its two ends, or until now while it has only one."""

    __slots__ = ("began", "ended")

    def __init__(self) -> None:
        self.began: float | None = None
        self.ended: float | None = None

    def begin(self, now: float) -> None:
        """The phase begins; a second beginning changes nothing."""
        if self.began is None:
            self.began = now

    def restart(self, now: float) -> None:
        """The phase has begun only now; nothing changes before its beginning and after its end."""
        if self.began is not None and self.ended is None:
            self.began = now

    def end(self, now: float) -> None:
        """The phase ends, if it has begun; a second end changes nothing."""
        if self.began is not None and self.ended is None:
            self.ended = now

    def offset(self, origin: float) -> float | None:
        """Give the seconds from a moment to its beginning; None before that."""
        return None if self.began is None else self.began - origin

    def seconds(self, now: float) -> float:
        """Give its length in seconds; 0 before it has begun."""
        if self.began is None:
            return 0.0
        return (now if self.ended is None else self.ended) - self.began


class Step:
    """One slot's turn in a rollout.

    Attributes:
        slot: its number.
        strategy: the table it goes by.
        old_generation: what the slot holds before.
        new_generation: what it shall hold.
        rollback: it is part of the way back.
        old_gone: there is no old backend (any more) that could be readmitted.
        counts: what became of the exchanges; set by whoever counts them.
        waited_for: what its drain waits for, or what was cut; set by whoever knows.
        failure: why the replacement failed, if it did.
        killed: the old process took SIGKILL.
    """

    def __init__(
        self,
        strategy: Strategy,
        *,
        slot: int,
        old_generation: int,
        new_generation: int,
        rollback: bool = False,
        old_gone: bool = False,
    ) -> None:
        """Begin pending."""
        self.strategy = strategy
        self.slot = slot
        self.old_generation = old_generation
        self.new_generation = new_generation
        self.rollback = rollback
        self.old_gone = old_gone
        self.counts = ExchangeCounts()
        self.waited_for: tuple[ExchangeView, ...] = ()
        self.failure: ReplacementFailed | None = None
        self.killed = False
        self._machine = Machine(f"a {strategy} step", TABLES[strategy], StepState.PENDING)
        self._whole = Span()
        self._starting = Span()
        self._draining = Span()
        self._stopping = Span()

    @property
    def state(self) -> StepState:
        """Where it is."""
        return self._machine.state

    @property
    def ended(self) -> bool:
        """Whether it is done, failed or aborted."""
        return self._machine.ended

    def on(self, event: StepEvent, *, now: float) -> tuple[StepCommand, ...]:
        """Process an event, and give the commands that follow, in this order.

        `now` is in seconds on the clock that all times of this rollout are on.

        Raises:
            UnexpectedEvent: the table has no row for it in this state; nothing was changed.
        """
        was_pending = self.state is StepState.PENDING
        commands = self._machine.on(type(event))
        if self.state is not StepState.PENDING:
            self._whole.begin(now)
        self._note(event, now, was_pending=was_pending)
        for command in commands:
            self._time(command, now)
        if self.ended:
            for span in (self._whole, self._starting, self._draining, self._stopping):
                span.end(now)
        return tuple(self._instantiate(command) for command in commands)

    def note_spawned(self, now: float) -> None:
        """Note that the replacement is spawned only now: an empty slot's wait for others that boot is not its time.

        Nothing changes where an old backend drains meanwhile, whose turn this is as well.
        """
        if self._draining.began is None and self._stopping.began is None:
            self._whole.restart(now)
            self._starting.restart(now)

    def _note(self, event: StepEvent, now: float, *, was_pending: bool) -> None:
        match event:
            case SlotFoundEmpty():
                self.old_gone = True
            case OldDrained():
                self._draining.end(now)
            case OldExited(killed=killed) if not was_pending:
                self.old_gone = True
                self.killed = killed
                self._draining.end(now)
                self._stopping.end(now)
            case ReplacementFailed():
                self._starting.end(now)
                # A replacement that dies because it is being killed has not failed by itself.
                if self.state is StepState.REVERTING and self.failure is None:
                    self.failure = event
            case _:
                pass

    def _time(self, command: type[StepCommand], now: float) -> None:
        if command is SpawnReplacement:
            self._starting.begin(now)
        elif command is AdmitReplacement:
            self._starting.end(now)
        elif command is DrainOld:
            self._draining.begin(now)
        elif command is ReadmitOld:
            self._draining.end(now)
        elif command is RetireOld:
            self._draining.end(now)
            self._stopping.begin(now)

    def _instantiate(self, command: type[StepCommand]) -> StepCommand:
        if command is SpawnReplacement:
            return SpawnReplacement(slot=self.slot, generation=self.new_generation)
        return command(slot=self.slot)  # type: ignore[call-arg]  # every other one has a slot and nothing else

    def report(self, now: float, *, origin: float = 0.0) -> SlotReport:
        """Report of the turn, so far or to its end, with offsets from a moment on the clock of the events."""
        return SlotReport(
            slot=self.slot,
            state=self.state,
            rollback=self.rollback,
            old_generation=self.old_generation,
            new_generation=self.new_generation,
            seconds=PhaseSeconds(
                starting=self._starting.seconds(now),
                draining=self._draining.seconds(now),
                stopping=self._stopping.seconds(now),
                total=self._whole.seconds(now),
            ),
            offsets=PhaseOffsets(
                turn=self._whole.offset(origin),
                starting=self._starting.offset(origin),
                draining=self._draining.offset(origin),
                stopping=self._stopping.offset(origin),
            ),
            exchanges=self.counts,
            waited_for=self.waited_for,
            killed=self.killed,
            reason=None if self.failure is None else self.failure.reason.value,
            detail="" if self.failure is None else self.failure.detail,
        )
