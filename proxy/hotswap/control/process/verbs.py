"""What admin API, command line and signals order of the running proxy, and the views that they are given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from hotswap.control.pools.unlocked import Unlocked
from hotswap.control.rollout.reload import ReloadAnswer
from hotswap.control.takeover.order import TakeoverOrder, TakeoverResult
from hotswap.control.telemetry.events import EventLog
from hotswap.control.telemetry.traffic import TrafficRecorder
from hotswap.core.config import Configuration
from hotswap.core.identity import RolloutId
from hotswap.core.pool.pause_answer import PauseAnswer
from hotswap.core.rollout.report import RolloutReport
from hotswap.core.rollout.rollout import Rollout
from hotswap.core.tally import Tally


class Verbs(Protocol):
    """A running proxy.

    Each order is refused with its reason, or done; what takes time is waited for by whoever asks. Those that must read
    a file or run a command first are async, and answer only when it is decided. `Refused` means that nothing was
    changed, `NotFound` that there is no pool, slot or rollout of the name that was given. While a takeover is in
    progress every order about a pool or the configuration is refused.
    """

    @property
    def config(self) -> Configuration:
        """What is in force."""

    @property
    def events(self) -> EventLog:
        """Every change of state."""

    @property
    def tally(self) -> Tally:
        """What is counted."""

    @property
    def traffic(self) -> TrafficRecorder:
        """The last minutes of what was served."""

    async def reload_all(self, *, trigger: str) -> ReloadAnswer:
        """Read the configuration again, then replace every backend of every supervised pool.

        Args:
            trigger: who asked, one word for log and report: `signal`, `api`.

        Raises:
            Refused: no pool can be rolled, or one that has changed cannot.
        """

    async def reload_pool(self, pool: str, *, trigger: str) -> Rollout:
        """Replace every backend of one pool, by its definition in the file as it is now.

        Raises:
            Refused: it cannot be rolled.
        """

    async def reread_configuration(self, *, trigger: str = ...) -> ReloadAnswer:
        """Read configuration and certificates again, reopen logs, replace what changed.

        Raises:
            ConfigError: nothing was changed.
            Refused: a pool that changed cannot be replaced now.
        """

    async def wait_rollout(self, rollout_id: str) -> Rollout | RolloutReport:
        """Block until a rollout has ended, and give it."""

    async def rollout(self, rollout_id: str) -> Rollout | RolloutReport:
        """Give a rollout that runs or is remembered, and what its drain waits for."""

    async def rollouts(self) -> Sequence[Rollout | RolloutReport]:
        """Give the rollouts that are remembered, the newest last, and what their drains wait for."""

    def drain(self, pool: str, slot: int) -> None:
        """Take the backend of a slot out of rotation and leave it running.

        Raises:
            Refused: a rollout is in progress, or no other backend could be claimed then.
        """

    def readmit(self, pool: str, slot: int) -> None:
        """Bring a drained backend back into rotation; nothing happens when it is there.

        Raises:
            Refused: a rollout is in progress, or the slot has no backend that is ready.
        """

    def pause(self, pool: str, answer: PauseAnswer | None = None) -> bool:
        """Hold the requests for a pool, or give them an answer at once; False when that was so already."""

    def resume(self, pool: str) -> bool:
        """Let the requests for a pool go on; False when it was not paused."""

    def unlock(self, pool: str) -> Unlocked | None:
        """End the lock that a failed rollout left, fill the slots again and tell which; None when there was none."""

    def abort(self, pool: str) -> RolloutId | None:
        """Ask the rollout of a pool to end as soon as that leaves no slot half-way; None when none runs."""

    def ready(self) -> bool:
        """Tell whether it has started and every pool has a backend that can be claimed."""

    async def look(self) -> None:
        """Look at the processes of the backends and at their exchanges, for the next `status` to tell of them."""

    def status(self) -> dict[str, Any]:
        """Give the state now, ready for JSON; of processes and exchanges what the last `look` has found."""

    async def start_takeover(self, order: TakeoverOrder) -> TakeoverResult:
        """Hand everything to a new process, and wait until it is known whether that went well.

        Raises:
            Refused: it was not begun.
            TakeoverFailed: it was given up; everything is as before.

        **Cancellation**: it goes on.
        """

    def stop(self) -> None:
        """Stop gracefully; called a second time, at once."""
