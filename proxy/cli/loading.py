"""Loading what a verb needs, and doing nothing else meanwhile that it would have to wait for."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loading() -> Iterator[None]:
    """Let the imports of the block be made in peace; what they made is never looked at, not at the end either.

    To look for garbage in it would be a sixth of a start.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def leave_out(*modules: str) -> None:
    """Have optional modules be missing in this process; whoever looks for one takes no for an answer, and goes on."""
    for module in modules:
        sys.modules.setdefault(module, None)  # type: ignore[arg-type]  # what is None is not found


@contextmanager
def deferring_validators() -> Iterator[None]:
    """Let Pydantic's models that the block brings have their validators made when they are first used.

    FastAPI brings many, for OpenAPI, which no running proxy uses: they would be a twentieth of a start.
    """
    from pydantic import BaseModel

    before = BaseModel.model_config
    BaseModel.model_config = {**before, "defer_build": True}  # counts for what a model does not say for itself
    try:
        yield
    finally:
        BaseModel.model_config = before
