"""Those who are told what changes."""

from __future__ import annotations

import pytest

from hotswap.core.observers import Observers


def test_everybody_is_told_everything_in_order():
    """What one of them causes comes after what is being told."""
    told: list[tuple[str, int]] = []
    observers: Observers[int] = Observers("numbers")

    def first(number: int) -> None:
        told.append(("first", number))
        if number == 1:
            observers.tell(3)

    observers.add(first)
    observers.add(lambda number: told.append(("second", number)))
    observers.tell(1, 2)
    assert told == [(name, number) for number in (1, 2, 3) for name in ("first", "second")]


def test_whoever_leaves_is_told_no_more():
    """Twice is as good as once."""
    told: list[int] = []
    observers: Observers[int] = Observers("numbers")
    leave = observers.add(told.append)
    observers.tell(1)
    leave()
    leave()
    observers.tell(2)
    assert told == [1]


def test_nobody_misses_an_event_because_another_one_is_broken():
    """All their faults are raised together, at the end."""
    told: list[int] = []
    observers: Observers[int] = Observers("numbers")

    def fail(number: int) -> None:
        raise ValueError(number)

    observers.add(fail)
    observers.add(told.append)
    with pytest.raises(ExceptionGroup, match="observers of numbers failed") as raised:
        observers.tell(1, 2)
    assert len(raised.value.exceptions) == 2
    assert told == [1, 2]
    with pytest.raises(ExceptionGroup):
        observers.tell(3)
    assert told == [1, 2, 3]
