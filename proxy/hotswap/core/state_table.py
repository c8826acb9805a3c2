"""State machines as tables: one row a transition, and a missing row is the illegal case.

Every machine of the proxy that has a table has one of these: the steps of rollouts, both sides of takeovers, and the
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


Table = Mapping[tuple[StateT, EventT], Row[StateT, EventT, CommandT]]


def make_table(rows: Iterable[Row[StateT, EventT, CommandT]]) -> Table[StateT, EventT, CommandT]:
    """Make a table of rows, no two of which may be for one state and event."""
    every = tuple(rows)
    found = {(row.state, row.event): row for row in every}
    if len(found) != len(every):
        raise AssertionError("two rows for one state and event")
    return MappingProxyType(found)


class UnexpectedEvent(Exception):
    """A machine was told what its table does not know in this state: a fault of the caller."""

    def __init__(self, what: str, state: StrEnum, event: object) -> None:
        word = event.__name__ if isinstance(event, type) else event
        super().__init__(f"{what} that is {state} does not know {word}")


def find_row(
    rows: Table[StateT, EventT, CommandT], state: StateT, event: EventT, *, what: str
) -> Row[StateT, EventT, CommandT]:
    """Look a transition up.

    Args:
        rows: the table.
        state: where the machine is.
        event: what happened.
        what: what the machine is, with its article, for the error.

    Raises:
        UnexpectedEvent: there is no such row.
    """
    row = rows.get((state, event))
    if row is None:
        raise UnexpectedEvent(what, state, event)
    return row
