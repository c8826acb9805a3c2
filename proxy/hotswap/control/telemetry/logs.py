"""What the proxy says about itself, on stderr: one event a line, a name with key-values.

Names are dotted and lower-case, `docs/reference/log-events.md` lists them. On a terminal the lines are
for people (`hotswap.control.telemetry.people`), elsewhere they are JSON for machines. Where stderr is the journal of
systemd, each line begins with its priority as sd-daemon(3) has it, which the journal takes off and keeps:
`journalctl --priority warning` works.
They go through a `LineWriter`: a stalled stderr must not stall the proxy, least of all when it is a backend that
fills it.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import MutableMapping
from typing import Final

import structlog
from structlog.typing import FilteringBoundLogger, WrappedLogger

from hotswap.control.telemetry.lines import LineWriter
from hotswap.control.telemetry.people import PeopleRenderer
from hotswap.core.printable import LONGEST_VALUE, bounded_value

STDERR = 2

LONGEST_TRACEBACK: Final = 32768
"""Characters of the one text that may be longer than others in a line."""

PRIORITIES: Final = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
"""Levels as syslog numbers them."""


class LogStream:
    """Where structlog's loggers write, one for all threads.

    A line can tell that others were lost, which is a line again: the lock lets the same thread in a second time.
    """

    def __init__(self, fd: int) -> None:
        self._lines = LineWriter(fd, name="log")
        self._lock = threading.RLock()

    def msg(self, message: str) -> None:
        """Queue a line; never waits, and never raises when it cannot be written."""
        with self._lock:
            self._lines.write(f"{message}\n".encode("utf-8", "backslashreplace"))

    # What structlog calls by the names of its levels.
    log = debug = info = warn = warning = fatal = failure = err = error = critical = exception = msg

    def close(self) -> None:
        """Write what is left; waits at most five seconds."""
        self._lines.close()


class Forward(logging.Handler):
    """Brings what libraries log into the same stream, as `library.logged`."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log one record of the standard library's logging."""
        log: FilteringBoundLogger = structlog.get_logger()
        log.log(
            record.levelno,
            "library.logged",
            logger=record.name,
            message=record.getMessage(),
            exc_info=record.exc_info or None,
        )


def bound_texts(logger: WrappedLogger, method: str, event: MutableMapping[str, object]) -> MutableMapping[str, object]:
    """Cut every text that is longer than anybody reads, tracebacks later than others."""
    for key, value in event.items():
        event[key] = bounded_value(value, LONGEST_TRACEBACK if key == "exception" else LONGEST_VALUE)
    return event


def is_journal(fd: int) -> bool:
    """Whether a file descriptor is connected to the journal (systemd.exec(5), `JOURNAL_STREAM`)."""
    stat = os.fstat(fd)
    return os.environ.get("JOURNAL_STREAM") == f"{stat.st_dev}:{stat.st_ino}"


def writes_for_people(log_format: str, fd: int) -> bool:
    """Whether lines to a file descriptor are for people: the format says so, or leaves it to what is read there."""
    return log_format == "console" or (log_format == "auto" and os.isatty(fd))


def has_colours(fd: int) -> bool:
    """Whether a file descriptor is a terminal that shows colours, to somebody who wants them (no-color.org)."""
    return os.isatty(fd) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def with_priority(render: structlog.typing.Processor) -> structlog.typing.Processor:
    """Have each line that a renderer writes begin with the priority of its record."""

    def rendered(logger: WrappedLogger, method: str, event: MutableMapping[str, object]) -> str:
        priority = PRIORITIES.get(str(event.get("level")), PRIORITIES["info"])
        return "\n".join(f"<{priority}>{line}" for line in str(render(logger, method, event)).split("\n"))

    return rendered


def _time_format(fd: int) -> str:
    """The local time; with its date where a line may be read on another day, and the journal does not add it."""
    return "%H:%M:%S" if os.isatty(fd) or is_journal(fd) else "%Y-%m-%d %H:%M:%S"


def configure_logs(*, level: str, log_format: str, fd: int = STDERR) -> LogStream:
    """Send the log of this process to a file descriptor; call it once, early.

    Args:
        level: `debug`, `info`, `warning` or `error`.
        log_format: `console` for people, `json`, or `auto` for people on a terminal and JSON elsewhere.
        fd: where to.

    Returns:
        The stream, to be closed when the process ends.
    """
    console = writes_for_people(log_format, fd)
    threshold = logging.getLevelNamesMapping()[level.upper()]
    stream = LogStream(fd)
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt=_time_format(fd) if console else "iso", utc=not console),
        structlog.processors.format_exc_info,
        bound_texts,
    ]
    if console:
        renderer: structlog.typing.Processor = PeopleRenderer(colours=has_colours(fd))
    else:
        renderer = structlog.processors.JSONRenderer(default=str)
    if is_journal(fd):
        renderer = with_priority(renderer)
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=lambda *_: stream,
        cache_logger_on_first_use=False,  # or a logger used before this call would keep the old stream
    )
    root = logging.getLogger()
    root.handlers[:] = [Forward()]
    # What libraries find worth an info line is seldom news to an operator.
    root.setLevel(threshold if threshold <= logging.DEBUG else max(threshold, logging.WARNING))
    return stream
