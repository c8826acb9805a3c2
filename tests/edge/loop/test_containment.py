"""What is called back with others ends alone when it raises."""

from __future__ import annotations

import pytest

from hotswap.edge.loop.containment import contain


class Caller:
    """One of many, which keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def on_crash(self, error: Exception) -> None:
        """An exception is told as well."""
        self.told.append(error)


def test_an_exception_goes_to_whose_it_is() -> None:
    """The caller goes on, and whoever raised is told."""
    one = Caller()
    contain(one, one.told.append, "called")
    contain(one, int, "no number")
    assert one.told[0] == "called"
    assert isinstance(one.told[1], ValueError)


def test_the_end_of_the_program_is_no_defect() -> None:
    """What is no `Exception` goes on to whoever called."""

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        contain(Caller(), stop)
