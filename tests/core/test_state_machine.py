"""Tables of transitions: what cannot be made, and what is said of a pair without a row."""

from __future__ import annotations

from enum import StrEnum

import pytest

from hotswap.core.state_machine import Machine, Row, UnexpectedEvent, make_table


class Lamp(StrEnum):
    """Two states."""

    OFF = "off"
    ON = "on"


class Pressed:
    """An event that is a class."""


ROW = Row(Lamp.OFF, Pressed, Lamp.ON, ("light",))


def test_two_rows_for_one_pair_are_refused() -> None:
    """A table with a contradiction is not made."""
    with pytest.raises(AssertionError, match="two rows"):
        make_table((ROW, Row(Lamp.OFF, Pressed, Lamp.OFF)))


def test_a_row_is_found_by_state_and_event() -> None:
    """And a missing one is an error that names both, and changes nothing."""
    machine = Machine("a lamp", make_table((ROW,)), Lamp.OFF)
    assert machine.on(Pressed) == ("light",)
    assert machine.ended
    with pytest.raises(UnexpectedEvent, match="a lamp that is on does not know Pressed"):
        machine.on(Pressed)
    assert machine.state is Lamp.ON
