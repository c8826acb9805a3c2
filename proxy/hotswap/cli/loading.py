"""Imports without garbage collection, and imports that leave optional modules out."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loading() -> Iterator[None]:
    """Make the imports of the block without garbage collection, and exempt what they made from it for good.

    To look for garbage in it would be a sixth of a start.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@contextmanager
def leaving_out(*modules: str) -> Iterator[None]:
    """Have optional modules be missing for the imports of the block, which can do without them."""
    missing = [module for module in modules if module not in sys.modules]
    for module in missing:
        sys.modules[module] = None  # type: ignore[assignment]  # what is None is not found
    try:
        yield
    finally:
        for module in missing:
            del sys.modules[module]
