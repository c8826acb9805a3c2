"""Accidents on order: where the tests of a takeover make a process die or fall silent.

`HOTSWAP_FAULT` names a place and what happens there, such as `new:prepared=kill` or `old:committed=stop`. Without
the variable, which is always but in tests, this does nothing.
"""

from __future__ import annotations

import os
import signal
from typing import Final

VARIABLE: Final = "HOTSWAP_FAULT"


def fault(place: str) -> None:
    """Have the accident that was ordered for this place, if one was."""
    ordered = os.environ.get(VARIABLE)
    if ordered:
        where, _, what = ordered.partition("=")
        if where == place:
            os.kill(os.getpid(), signal.SIGSTOP if what == "stop" else signal.SIGKILL)
