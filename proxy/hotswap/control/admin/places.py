"""How many connections to the admin API may be open, and who gives way when there are as many.

Theory. A connection costs its caller nothing, and whoever may ask for something is known only when the request has
come. So nobody is turned away for those who say nothing: the one that has been silent for longest is closed instead,
which is never one whose answer is being made. Unix sockets have places of their own, because a page or another user
of the machine can take all those of TCP.
"""

from __future__ import annotations

from typing import Protocol

TCP_PLACES = 192
UNIX_PLACES = 64
"""Connections that may be open; so few that admin traffic never takes the files that clients need."""


class Caller(Protocol):
    """A connection that holds a place."""

    def silent_since(self) -> float | None:
        """Since when nobody waits for us over it, on trio's clock; None while an answer is being made."""

    def evict(self) -> None:
        """Close it at once."""


class Places:
    """The places of one kind of address."""

    def __init__(self, places: int) -> None:
        """Make them; all are free."""
        self._places = places
        self._taken: set[Caller] = set()

    def take(self, caller: Caller) -> bool:
        """Give a connection a place, by closing another one where need be; False when none can be had."""
        if len(self._taken) >= self._places:
            silent = [(since, one) for one in self._taken if (since := one.silent_since()) is not None]
            if not silent:
                return False
            _, longest = min(silent, key=lambda pair: pair[0])
            self._taken.discard(longest)
            longest.evict()
        self._taken.add(caller)
        return True

    def leave(self, caller: Caller) -> None:
        """Take a place back; harmless from one that was evicted."""
        self._taken.discard(caller)
