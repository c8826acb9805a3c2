"""The event loop of a side of a takeover, with a table of its own."""

from __future__ import annotations

from enum import StrEnum

import trio

from hotswap.control.takeover.channel import Descriptors, Received
from hotswap.control.takeover.table_loop import TableLoop
from hotswap.core.state_machine import Machine, Row, make_table
from hotswap.wire.handover import Frame, FrameType


class State(StrEnum):
    """Three rooms."""

    HALL = "hall"
    CELLAR = "cellar"
    OUTSIDE = "outside"


class Event(StrEnum):
    """What happens in them."""

    STEPPED = "stepped"
    LEFT = "left"
    BROKEN = "broken"
    OVERDUE = "overdue"


ROWS = make_table(
    (
        Row(State.HALL, Event.STEPPED, State.CELLAR, ("light", "listen")),
        Row(State.HALL, Event.BROKEN, State.OUTSIDE, ("run",)),
        Row(State.HALL, Event.OVERDUE, State.OUTSIDE, ("yawn",)),
        Row(State.CELLAR, Event.LEFT, State.OUTSIDE, ("lock",)),
    )
)


class Side:
    """What was asked of a side."""

    def __init__(self, *, seconds: float = 60.0) -> None:
        self.done: list[str] = []
        self.moves: list[str] = []
        self.loop = TableLoop(
            Machine(
                "a walk",
                ROWS,
                State.HALL,
                failures=frozenset({State.OUTSIDE}),
                deadlines={State.HALL: seconds},
                now=trio.current_time(),
            ),
            side="test",
            pidfd=lambda: -1,
            patience=0.0,
            broken=Event.BROKEN,
            overdue=Event.OVERDUE,
            why_overdue=lambda state: f"too long in the {state}",
            look=lambda event, detail, _received: (event, detail),
            moved=lambda event, detail: self.moves.append(f"{event} {detail}".strip()),
            do=lambda command, _detail: self.done.append(command),
        )


def frame() -> Received:
    """One that came over the channel."""
    return Received(frame=Frame(type=FrameType.ACK, seq=1, body={}), descriptors=Descriptors())


async def test_commands_are_done_in_the_order_of_the_table(autojump_clock) -> None:
    """Event after event, until the machine has come to an end."""
    side = Side()
    side.loop.note(Event.STEPPED)
    side.loop.note(Event.LEFT, "with the key")
    await side.loop.run()
    assert side.done == ["light", "listen", "lock"]
    assert side.moves == ["stepped", "left with the key"]


async def test_a_fact_without_a_row_is_dropped_and_a_frame_without_one_breaks_the_channel(autojump_clock) -> None:
    """What a task reports may come too late; what the other side sends must fit."""
    side = Side()
    side.loop.note(Event.LEFT)
    side.loop.note(Event.LEFT, "", frame())
    await side.loop.run()
    assert side.done == ["run"]
    assert side.loop.machine.reason == "left cannot come in the state hall"


async def test_a_state_that_lasts_too_long_is_an_event(autojump_clock) -> None:
    """At its deadline, with the words of the side."""
    side = Side(seconds=5.0)
    began = trio.current_time()
    await side.loop.run()
    assert trio.current_time() - began == 5.0
    assert side.moves == ["overdue too long in the hall"]
