"""Loading what a verb needs without looking for garbage in it, then or ever: that takes a sixth of a start."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loading() -> Iterator[None]:
    """Let the imports of the block be made in peace; what they made is never looked at, not at the end either."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
