"""State machines as tables: one row a transition, and a missing row is the illegal case.

Every machine of the proxy that is a table is one of these: the steps of rollouts, both sides of takeovers, and the
phases of the process. A state is a `StrEnum`; an event or a command is a word of one too, or a class of values.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Generic, TypeVar

StateT = TypeVar("StateT", bound=StrEnum)
EventT = TypeVar("EventT")
CommandT = TypeVar("CommandT")


@dataclass(frozen=True, slots=True)
class Row(Generic[StateT, EventT, CommandT]):
    """One transition: in this state, on this event, go there and have this done, in this order.

    Where states have deadlines, a row that stays in its state leaves the deadline as it is, unless it `extends`.
    """

    state: StateT
    event: EventT
    then: StateT
    commands: tuple[CommandT, ...] = ()
    extends: bool = False


StateTable = Mapping[tuple[StateT, EventT], Row[StateT, EventT, CommandT]]


def make_table(rows: Iterable[Row[StateT, EventT, CommandT]]) -> StateTable[StateT, EventT, CommandT]:
    """Make a table of rows, no two of which may be for one state and event."""
    every = tuple(rows)
    found = {(row.state, row.event): row for row in every}
    if len(found) != len(every):
        raise AssertionError("two rows for one state and event")
    return MappingProxyType(found)


def ends_of(rows: StateTable[StateT, EventT, CommandT]) -> frozenset[StateT]:
    """Give the states that are reached and that no row leads out of."""
    return frozenset(row.then for row in rows.values()) - {
        row.state for row in rows.values() if row.then is not row.state
    }


class UnexpectedEvent(Exception):
    """A machine was told what its table does not know in this state: a fault of the caller."""

    def __init__(self, what: str, state: StrEnum, event: object) -> None:
        word = event.__name__ if isinstance(event, type) else event
        super().__init__(f"{what} that is {state} does not know {word}")


class Machine(Generic[StateT, EventT, CommandT]):
    """A table, the state it is in, and the moment at which that has lasted too long.

    Attributes:
        state: where it is.
        deadline: when the state has lasted too long, on the caller's clock in seconds; None: never.
        failed_in: the state in which it was given up; None while it was not.
        reason: why it was given up, in words; empty while it was not.
    """

    def __init__(
        self,
        what: str,
        rows: StateTable[StateT, EventT, CommandT],
        start: StateT,
        *,
        failures: frozenset[StateT] = frozenset(),
        deadlines: Mapping[StateT, float] = MappingProxyType({}),
        limits: Mapping[StateT, float] = MappingProxyType({}),
        now: float = 0.0,
    ) -> None:
        """Begin.

        Args:
            what: what it is, with its article, for the error.
            rows: the table.
            start: the state to begin in.
            failures: states that are only entered when it is given up.
            deadlines: seconds that a state may last.
            limits: the same for some of them, before anything else.
            now: the time, in seconds.
        """
        self._what = what
        self._rows = rows
        self._ends = ends_of(rows)
        self._failures = failures
        self._limits = limits
        self._deadlines = {**deadlines, **limits}
        self.state = start
        self.failed_in: StateT | None = None
        self.reason = ""
        self.deadline: float | None = None
        self._arm(now)

    @property
    def ended(self) -> bool:
        """Nothing can happen to it any more."""
        return self.state in self._ends

    def knows(self, event: EventT) -> bool:
        """Tell whether the event has a row in the present state."""
        return (self.state, event) in self._rows

    def allow(self, state: StateT, seconds: float) -> None:
        """Let a state that is still to come last this long, unless it was begun with another limit."""
        if state not in self._limits:
            self._deadlines[state] = seconds

    def on(self, event: EventT, *, now: float = 0.0, detail: str = "") -> tuple[CommandT, ...]:
        """Take an event in and give what is to be done about it, in this order.

        Its detail, in words, is kept as the reason if it is why the machine is given up; the time is in seconds.

        Raises:
            UnexpectedEvent: there is no row for it; nothing was changed.
        """
        row = self._rows.get((self.state, event))
        if row is None:
            raise UnexpectedEvent(self._what, self.state, event)
        if row.then in self._failures and self.failed_in is None:
            self.failed_in = self.state
            self.reason = detail or str(event)
        moved = row.then is not self.state
        self.state = row.then
        if moved or row.extends:
            self._arm(now)
        return row.commands

    def _arm(self, now: float) -> None:
        seconds = self._deadlines.get(self.state)
        self.deadline = None if seconds is None else now + seconds
