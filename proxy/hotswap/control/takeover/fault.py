"""Fault injection for tests of a takeover: where a process dies or falls silent, and how long others wait then.

`HOTSWAP_FAULT` names places and what happens there, once each, such as `new:prepared=kill` or `old:committed=stop
old:probation=stop`. `HOTSWAP_DEADLINES` gives states other deadlines than the tables do, such as `greeting=3
preparing=2`, so that a test need not wait for those. Without the variables, which is always but in tests, nothing of
this does anything.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from enum import StrEnum
from typing import Final, TypeVar

FAULTS: Final = "HOTSWAP_FAULT"
DEADLINES: Final = "HOTSWAP_DEADLINES"

SILENCE: Final = "silence"
"""The word, among the deadlines, for how long a process on trial may say nothing."""

StateT = TypeVar("StateT", bound=StrEnum)


def fault(place: str) -> None:
    """Inject the fault that is ordered for this place, if one is."""
    ordered = os.environ.get(FAULTS)
    if not ordered:
        return
    for order in ordered.split():
        where, _, what = order.partition("=")
        if where == place:
            os.environ[FAULTS] = " ".join(one for one in ordered.split() if one != order)
            os.kill(os.getpid(), signal.SIGSTOP if what == "stop" else signal.SIGKILL)


def deadlines(kind: type[StateT]) -> Mapping[StateT, float]:
    """Give the deadlines, in seconds, that were ordered for states of one side."""
    ordered = _ordered()
    return {state: ordered[state.value] for state in kind if state.value in ordered}


def silence(usual: float) -> float:
    """Give how long a process on trial may say nothing, in seconds."""
    return _ordered().get(SILENCE, usual)


def _ordered() -> dict[str, float]:
    words = (word.split("=") for word in os.environ.get(DEADLINES, "").split())
    return {state: float(seconds) for state, seconds in words}
