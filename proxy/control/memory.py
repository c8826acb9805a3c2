"""How often Python looks for cycles of garbage: seldom, because the path of a request makes none.

Exchanges and connections are taken apart when they end, so reference counts free them. What the collector would walk
at its default pace is everything that lives: with thousands of connections open that is a pause for all of them.
"""

from __future__ import annotations

import gc
from typing import Final

THRESHOLDS: Final = (50_000, 20, 50)
"""Allocations before the youngest generation is looked at, and how many such looks before an older one is."""


def settle_memory() -> None:
    """Collect once, then leave what lives by now out of every later look, and look seldom. Called when booted."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
