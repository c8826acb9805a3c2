"""One side of a takeover: a table, the state it is in, and the moment at which that has lasted too long."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic

from hotswap.core.state_table import CommandT, EventT, StateT, Table, find_row


class Machine(Generic[StateT, EventT, CommandT]):
    """One side of a takeover.

    Attributes:
        state: where it is.
        deadline: when the state has lasted too long, on the caller's clock in seconds; None: never.
        failed_in: the state in which it was given up; None while it was not.
        reason: why it was given up, in words; empty while it was not.
    """

    def __init__(
        self,
        rows: Table[StateT, EventT, CommandT],
        start: StateT,
        *,
        ends: frozenset[StateT],
        failures: frozenset[StateT],
        deadlines: Mapping[StateT, float],
        limits: Mapping[StateT, float] | None = None,
        now: float,
    ) -> None:
        """Begin.

        Args:
            rows: the table.
            start: the state to begin in.
            ends: states without a way out.
            failures: states that are only entered when the takeover is given up.
            deadlines: seconds that a state may last.
            limits: the same for some of them, before anything else.
            now: the time, in seconds.
        """
        self._rows = rows
        self._ends = ends
        self._failures = failures
        self._limits = dict(limits or {})
        self._deadlines = {**deadlines, **self._limits}
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

    def on(self, event: EventT, *, now: float, detail: str = "") -> tuple[CommandT, ...]:
        """Take an event in and give what is to be done about it, in this order.

        Args:
            event: what happened.
            now: when, in seconds.
            detail: more about it, in words; kept as the reason if it is why the takeover is given up.

        Raises:
            UnexpectedEvent: there is no row for it; nothing was changed.
        """
        row = find_row(self._rows, self.state, event, what="a side of a takeover")
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
