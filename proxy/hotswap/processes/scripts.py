"""Scripts of ours that other processes run: the launcher of backends, and the guardian.

Theory. An upgrade in place removes the environment that a running proxy was started from, and with it the files of
these scripts and the interpreter of that environment. So their source is read when the proxy is started, and goes to
the interpreter in its arguments or in memory; they need the standard library alone, so that the interpreter which the
environment was made from runs them as well, and that of a pool in the end.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import Final

_OPTIONS: Final = ("-I", "-S")
"""Neither variables nor site directories: nothing of an app is imported by accident."""

_FIRST_FREE_FD: Final = 10
"""Above the descriptors that are placed in a child, so that none of these overwrites it."""


class InterpreterGone(OSError):
    """No Python is left that could run a script of ours."""


def read_script(package: str, name: str) -> str:
    """Read the source of a script in one of our packages.

    Raises:
        ModuleNotFoundError: the package is not installed.
        OSError: the file cannot be read.
    """
    return files(package).joinpath(name).read_text(encoding="utf-8")


def own_interpreters() -> tuple[str, ...]:
    """Give the interpreters that this process could have been started by: that of the system first, if there is one."""
    base: str = getattr(sys, "_base_executable", "")
    return tuple(dict.fromkeys(path for path in (base, sys.executable) if path))


def interpreter_command(*arguments: str, others: Iterable[str] = ()) -> list[str]:
    """Give the command that runs a script, with the first interpreter that is still there.

    Args:
        arguments: the script, as a path or by `-c`, and what it is given.
        others: programs that are tried when those of this process are gone, if they are named like a Python.

    Raises:
        InterpreterGone: none is there.
    """
    ours = own_interpreters()
    pythons = (program for program in others if os.path.basename(program).startswith("python"))
    for candidate in (*ours, *pythons):
        found = shutil.which(candidate)
        if found is not None:
            return [found, *_OPTIONS, *arguments]
    raise InterpreterGone(f"the Python of this proxy is gone: {' and '.join(ours)} cannot be executed")


def at_hand(path: str, source: str, directory: Path) -> str:
    """Give the path of a script: its own, or, where it is gone, that of a copy in a directory, made when it is missing.

    Raises:
        OSError: the copy cannot be written.
    """
    if os.path.exists(path):
        return path
    copy = directory / os.path.basename(path)
    if not copy.exists() or copy.read_text(encoding="utf-8") != source:
        written = copy.with_suffix(".new")
        written.write_text(source, encoding="utf-8")
        written.replace(copy)
    return str(copy)


def open_script(name: str, source: str) -> int | None:
    """Put a script into a file in memory.

    Returns:
        Its descriptor, which the caller closes, above those that are placed in a child; None: the system has none.
    """
    try:
        with open(os.memfd_create(name), "w", encoding="utf-8") as file:
            file.write(source)
            file.flush()
            return fcntl.fcntl(file.fileno(), fcntl.F_DUPFD_CLOEXEC, _FIRST_FREE_FD)
    except OSError:
        return None
