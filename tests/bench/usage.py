"""What a process with all its threads and children has used: processor time and memory, read from /proc."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")

# Places of the fields of /proc/PID/stat, counted behind the command's closing parenthesis.
_PPID = 1
_UTIME = 11
_CSTIME = 14


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """A reading of one process tree.

    Attributes:
        processor_seconds: user and system time of every living member and of children they have waited for.
        memory_bytes: proportional set size, so that a page shared by master and worker counts once.
    """

    processor_seconds: float
    memory_bytes: int


def read_usage(root: int) -> Usage:
    """Read the tree below process ``root``; members that end meanwhile count until their last reading."""
    members = _tree(root)
    ticks = sum(sum(map(int, fields[_UTIME : _CSTIME + 1])) for fields in members.values())
    return Usage(
        processor_seconds=ticks / _TICKS_PER_SECOND,
        memory_bytes=sum(_memory_bytes(pid) for pid in members),
    )


def bind_tree(root: int, processors: Collection[int]) -> None:
    """Let every thread of the tree below process ``root`` run on ``processors`` only."""
    for pid in _tree(root):
        with contextlib.suppress(FileNotFoundError):
            for thread in os.listdir(f"/proc/{pid}/task"):
                with contextlib.suppress(ProcessLookupError):
                    os.sched_setaffinity(int(thread), processors)


def _tree(root: int) -> dict[int, list[str]]:
    stats: dict[int, list[str]] = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            text = Path("/proc", entry, "stat").read_text(encoding="utf-8", errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        stats[int(entry)] = text[text.rindex(")") + 2 :].split()
    members: dict[int, list[str]] = {}
    border = [root]
    while border:
        pid = border.pop()
        if pid in stats and pid not in members:
            members[pid] = stats[pid]
            border.extend(child for child, fields in stats.items() if int(fields[_PPID]) == pid)
    return members


def _memory_bytes(pid: int) -> int:
    try:
        text = Path("/proc", str(pid), "smaps_rollup").read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return 0
    for line in text.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0
