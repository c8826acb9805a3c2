"""What a request can expect of a pool at the moment, in one word."""

from __future__ import annotations

from enum import StrEnum


class Outlook(StrEnum):
    """What a request can expect."""

    CLAIMABLE = "claimable"
    """A claim succeeds now."""
    BUSY = "busy"
    """Every claimable backend is full: hold until one has room."""
    EXPECTED = "expected"
    """Nothing is claimable, but something is coming (or the pool is paused): hold."""
    ANSWERED = "answered"
    """The pool is paused and has an answer: give it at once."""
    HOPELESS = "hopeless"
    """Nothing is claimable and nothing is coming: answer 503 at once."""
