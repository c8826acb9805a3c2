"""Containment of defects: an exception in one connection or exchange does not spare the others their turn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVarTuple

Arguments = TypeVarTuple("Arguments")


class Contained(Protocol):
    """One of many, whose exceptions concern nobody else."""

    def on_crash(self, error: Exception) -> None:
        """An exception left one of its callbacks: log it and end this one, nothing else."""


def contain(one: Contained, callback: Callable[[*Arguments], object], *arguments: *Arguments) -> None:
    """Call back one of many."""
    try:
        callback(*arguments)
    except Exception as error:  # contained: the others have their turn as well
        one.on_crash(error)
