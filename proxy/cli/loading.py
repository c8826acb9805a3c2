"""Loading what a verb needs without looking for garbage meanwhile, of which there is none: it takes much of a start."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loading() -> Iterator[None]:
    """Let the imports of the block be made in peace."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
