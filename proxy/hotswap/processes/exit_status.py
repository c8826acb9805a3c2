"""Exit status of a process."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

STOPPED_CODES: Final = frozenset({128 + signal.SIGTERM, 256 - signal.SIGTERM})
"""How SIGTERM looks in an exit code: as a shell has it of its child, and as a program that exits with -15."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """Exit code or signal of a process; both None when unknown, as for an adopted one."""

    code: int | None = None
    signal: int | None = None

    def __str__(self) -> str:
        if self.signal is not None:
            try:
                return f"killed by {signal.Signals(self.signal).name}"
            except ValueError:
                return f"killed by signal {self.signal}"
        return "exit status unknown" if self.code is None else f"exit code {self.code}"

    def in_words(self, *, asked: bool) -> str:
        """Say how it ended: `stopped` for the SIGTERM that it was `asked` to stop by, else as `str` does."""
        stopped = self.signal == signal.SIGTERM or self.code in STOPPED_CODES
        return "stopped" if asked and stopped else str(self)


def reap(pidfd: int) -> Exit:
    """Reap a process that has ended, and give its exit status; both None for one that is not our child."""
    result = None
    with suppress(ChildProcessError):  # not our child: its status goes to its parent alone
        result = os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG)
    if result is None:
        return Exit()
    if result.si_code == os.CLD_EXITED:
        return Exit(code=result.si_status)
    return Exit(signal=result.si_status)
