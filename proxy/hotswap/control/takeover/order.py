"""What is wanted of a takeover, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hotswap.core.errors import ProxyError, Refused

DRAIN_TIMEOUT: Final = 300.0
PROBATION: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeoverOrder:
    """What is wanted.

    Attributes:
        executable: the new `hotswap` or its interpreter; None: what this process was started from.
        config: the new configuration; None: the same file.
        probation: seconds for which everything returns if the new process dies.
        drain_timeout: seconds for the clients of the old process.
        trigger: who asked, for the log.
    """

    executable: str | None = None
    config: Path | None = None
    probation: float = PROBATION
    drain_timeout: float = DRAIN_TIMEOUT
    trigger: str = "api"


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeoverResult:
    """What became of a takeover.

    Attributes:
        done: the new process has everything.
        generation: number of the proxy process that serves now, counted from the first.
        pid: its process id.
        version: of the new code, as far as it told.
        step: the state in which it was given up, empty when it was not.
        reason: why.
        refused: why it was not even begun.
    """

    done: bool
    generation: int
    pid: int
    version: str = ""
    step: str = ""
    reason: str = ""
    refused: Refused | None = None

    def to_json(self) -> dict[str, object]:
        """Give it for the admin API."""
        found: dict[str, object] = {
            "outcome": "done" if self.done else "failed",
            "generation": self.generation,
            "pid": self.pid,
            "version": self.version,
        }
        return found if self.done else {**found, "step": self.step, "reason": self.reason}


class TakeoverFailed(Exception):
    """A takeover was begun and did not come about; `result` says where and why."""

    def __init__(self, result: TakeoverResult) -> None:
        super().__init__(f"{result.reason} (in the step {result.step})")
        self.result = result


class CouldNotTakeOver(ProxyError):
    """This process leaves: the old one goes on, or is gone with too little handed over."""
