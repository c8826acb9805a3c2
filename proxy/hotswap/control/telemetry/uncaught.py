"""Exceptions that nobody can catch: raised in callbacks of libraries, in finalizers, and at the top of threads.

Python prints them on stderr, in lines that are no log lines; here each is one, like any other defect.
"""

from __future__ import annotations

import sys
import threading

import structlog


def log_uncaught() -> None:
    """Have them logged from now on, in the whole process."""
    sys.unraisablehook = _on_unraisable
    threading.excepthook = _on_thread


def _on_unraisable(caught: sys.UnraisableHookArgs) -> None:
    # What it was raised in is only named: to keep it would bring a dying object back.
    where = f"{caught.err_msg or 'Exception ignored in'} {type(caught.object).__qualname__}"
    structlog.get_logger().error("defect", where=where, error=repr(caught.exc_value), exc_info=caught.exc_value)


def _on_thread(caught: threading.ExceptHookArgs) -> None:
    if caught.exc_type is not SystemExit:
        name = caught.thread.name if caught.thread is not None else "a thread"
        structlog.get_logger().error("defect", where=name, error=repr(caught.exc_value), exc_info=caught.exc_value)
