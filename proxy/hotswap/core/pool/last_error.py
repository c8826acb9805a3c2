"""Says in one line why a backend ended or did not start: how it ended, and the line of its output that tells why.

Which line that is, by what it looks like; the first kind that is there is taken, and the last line of that kind:

| kind | such as |
|---|---|
| what a traceback ends with | `ModuleNotFoundError: No module named 'shop'` |
| an error in a server's own log, without its time and process | `[ERROR] Can't connect to ('127.0.0.1', 80)` |
| any other line that says more than that something went wrong | `Failed to find attribute 'app' in 'shop'.` |

A traceback that more than a few lines follow is of an earlier trouble, such as a request that failed. What servers
write whenever a start fails, whatever the cause, is passed over.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from hotswap.core.printable import bounded, escape_controls

LONGEST: Final = 300
"""Characters of the line that tells why."""

_AFTERMATH: Final = 12
"""Lines of a server's own log that may follow a traceback which ended it."""

_GROUPED: Final = re.compile(r"^ +\| ?")
"""Margin of a traceback in that of an exception group."""
_EXCEPTION: Final = re.compile(r"^[A-Za-z_][\w.]*(?::|: .*)?$")
_SUMMARY: Final = ": 1 validation error for ", " validation errors for "
"""In the first line of an exception whose next ones say which setting is wrong."""
_SYNTAX: Final = re.compile(r"^(?:SyntaxError|IndentationError|TabError):")
_PLACE: Final = re.compile(r'^  File "(?:[^"]*/)?([^"/]*)", line (\d+)')
_PREFIX: Final = re.compile(
    r"^(?:\[?\d{4}-\d\d-\d\d[T ][\d:.,]{8,16}(?:Z| ?[+-]\d\d:?\d\d)?\]?\s+)?(?:\[\d+\]\s+)?"
    r"(?P<level>\[?(?:DEBUG|INFO|WARNING|ERROR|CRITICAL|FATAL)\]?:?\s+|(?:[Ee]rror|[Ff]atal): )"
)
_SERIOUS: Final = ("error", "critical", "fatal")
_ALWAYS: Final = re.compile(
    r"^(?:Worker \(pid:\d+\) exited with code|Worker exiting \(pid|Shutting down: Master|Reason: (?:Worker|App) failed"
    r"|Application startup failed|Exception in '?(?:lifespan|ASGI|worker)|Unexpected exit from worker"
    r"|Can't connect to \(|\s*\d+: |\s+at /|note: run with `RUST_BACKTRACE)"
)
_WAITRESS: Final = re.compile(r"^There was an exception \((\w+)\) importing your module")
_PANIC: Final = re.compile(r"^thread '[^']*'(?: \(\d+\))? panicked at ")
_FAULT: Final = "Fatal Python error: "
_NUMBERED: Final = re.compile(r"^\d+\. ")


@dataclass(frozen=True, slots=True, kw_only=True)
class LastError:
    """Why a slot is not well.

    Attributes:
        text: one line for people.
        exit: how the last process in it ended; None when it did not, or nobody knows.
    """

    text: str
    exit: str | None = None


def error_line(output: Sequence[str], *, any_line: bool = True) -> str:
    """Give the line of a backend's last output that says why it failed, printable and bounded; "" for none.

    Args:
        output: its last lines, oldest first.
        any_line: take any line where none looks like an error.
    """
    lines = [_GROUPED.sub("", line.rstrip()) for line in output]
    found = _special(lines) or _traceback(lines) or _logged(lines)
    if not found and any_line:
        said = [line for line in lines if line.strip() and not _is_information(line)]
        found = next((line for line in reversed(said) if _telling(line)), said[-1] if said else "")
    return bounded(escape_controls(found.strip()), LONGEST)


def _special(lines: Sequence[str]) -> str:
    """What is neither a traceback nor a line of a log: a crash of the interpreter or of Rust code, waitress."""
    for index in reversed(range(len(lines))):
        line = lines[index]
        if line.startswith(_FAULT):
            return line
        following = [one for one in lines[index + 1 :] if one.strip()]
        if _PANIC.match(line):
            return following[0] if line.endswith(":") and following else line
        if name := _WAITRESS.match(line):
            argument = next((_NUMBERED.sub("", one) for one in following if _NUMBERED.match(one)), "")
            return f"{name[1]}: {argument}" if argument else name[1]
    return ""


def _traceback(lines: Sequence[str]) -> str:
    """What the last traceback ends with: the first line after its indented ones."""
    for index in range(len(lines) - 1, 0, -1):
        line, before = lines[index], lines[index - 1]
        if not (before.startswith("  ") and _EXCEPTION.match(line) and _has_frame(lines[:index])):
            continue
        if sum(1 for one in lines[index + 1 :] if _PREFIX.match(one)) > _AFTERMATH:
            return ""
        if any(words in line for words in _SUMMARY):
            return ": ".join([line, *(one.strip() for one in lines[index + 1 : index + 3])])
        if _SYNTAX.match(line):
            place = next(found for one in reversed(lines[:index]) if (found := _PLACE.match(one)))
            return f"{line} ({place[1]}, line {place[2]})"
        return line
    return ""


def _has_frame(lines: Sequence[str]) -> bool:
    """Whether the indented lines at the end are those of a traceback."""
    for line in reversed(lines):
        if not line.startswith("  "):
            return False
        if _PLACE.match(line):
            return True
    return False


def _logged(lines: Sequence[str]) -> str:
    """The last error in a server's own log."""
    for line in reversed(lines):
        prefix = _PREFIX.match(line)
        if prefix and not _is_information(line) and _telling(line):
            return line[prefix.end() :]
    return ""


def _is_information(line: str) -> bool:
    """Whether a line is of a log, and no error there."""
    prefix = _PREFIX.match(line)
    return prefix is not None and prefix["level"].strip(" []:").lower() not in _SERIOUS


def _telling(line: str) -> bool:
    """Whether a line says more than that something went wrong."""
    prefix = _PREFIX.match(line)
    rest = line[prefix.end() :] if prefix else line
    return bool(rest.strip()) and not _ALWAYS.match(rest)


def exit_words(*, code: int | None, number: int | None, output: Sequence[str]) -> str:
    """Say how a process ended that nobody had told to, and what it wrote about that.

    Args:
        code: its exit code; None when a signal ended it, or nobody knows.
        number: of the signal; None when it exited, or nobody knows.
        output: its last lines, oldest first.
    """
    if number == signal.SIGKILL:
        # Nothing it wrote can be about that.
        return "killed by SIGKILL, which the proxy did not send: was the machine out of memory?"
    if number is not None:
        # A signal can follow any output: only what was written because of it is about it.
        words, line = f"killed by {_signal_name(number)}", _special(output)
        line = bounded(escape_controls(line.strip()), LONGEST)
    else:
        words, line = "ended, with a status that nobody knows", error_line(output)
        if code is not None:
            words = f"exited with status {code}"
            if code > 128 and (name := _signal_name(code - 128)).startswith("SIG"):
                words += f" ({name} in what it had started)"
    return f"{words}: {line}" if line else words


def _signal_name(number: int) -> str:
    with suppress(ValueError):
        return signal.Signals(number).name
    return f"signal {number}"
