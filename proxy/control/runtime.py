"""The process as a whole: its pools, listeners and verbs, from boot to the last exchange."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from proxy.control.events import EventLog
from proxy.core.config import Configuration
from proxy.core.errors import Refused
from proxy.core.identity import RolloutId
from proxy.core.tally import Tally

if TYPE_CHECKING:
    from proxy.control.static_pool import StaticPool
    from proxy.control.supervised_pool import SupervisedPool
    from proxy.core.rollout import Rollout


@dataclass(frozen=True, slots=True, kw_only=True)
class ReloadAnswer:
    """What became of a reload.

    Attributes:
        rollouts: those accepted, in the order in which they run, one after the other.
        refusals: pools that stay as they are, by name, with the reason.
        changes: what else the configuration changed, in words, such as "listener public opened".
    """

    rollouts: tuple[Rollout, ...] = ()
    refusals: Mapping[str, Refused]
    changes: tuple[str, ...] = ()


class Runtime:
    """A running proxy; the verbs of admin API and signals.

    Attributes:
        config: what is in force.
        config_path: the file it came from.
        pools: every pool by name.
        events: every change of state.
        tally: what is counted.
        started: when the process started, ISO 8601 in UTC.
    """

    config: Configuration
    config_path: Path
    pools: Mapping[str, SupervisedPool | StaticPool]
    events: EventLog
    tally: Tally
    started: str

    # Verbs. Those that must read a file or run a command first are async; each answers only when it is decided.

    async def reload_all(self, *, trigger: str) -> ReloadAnswer:
        """Read the configuration again, then replace every backend of every supervised pool.

        Args:
            trigger: who asked, one word for log and report: `signal`, `api`.

        Raises:
            Refused: nothing was changed.
        """
        raise NotImplementedError

    async def reload_pool(self, pool: str, *, trigger: str) -> Rollout:
        """Replace every backend of one pool, by its definition in the file as it is now.

        Raises:
            UnknownPool: there is none of this name.
            Refused: nothing was changed.
        """
        raise NotImplementedError

    async def reread_configuration(self, *, trigger: str = "signal") -> ReloadAnswer:
        """Read configuration and certificates again, reopen logs, replace what changed.

        Raises:
            ConfigError: nothing was changed.
            Refused: a pool that changed cannot be replaced now; nothing was changed.
        """
        raise NotImplementedError

    async def wait_rollout(self, rollout_id: str) -> Rollout:
        """Block until a rollout has ended, and give it.

        Raises:
            UnknownRollout: none of this id is remembered.
        """
        raise NotImplementedError

    def rollout(self, rollout_id: str) -> Rollout:
        """Give a rollout that runs or is remembered.

        Raises:
            UnknownRollout: none of this id is remembered.
        """
        raise NotImplementedError

    def rollouts(self) -> Sequence[Rollout]:
        """Give the rollouts that are remembered, the newest last."""
        raise NotImplementedError

    def drain(self, pool: str, slot: int) -> None:
        """Take the backend of a slot out of rotation and leave it running.

        Raises:
            UnknownPool, UnknownSlot: there is none.
            Refused: a rollout is in progress, or it is the last that can be claimed.
        """
        raise NotImplementedError

    def readmit(self, pool: str, slot: int) -> None:
        """Bring a drained backend back into rotation; nothing happens when it is there.

        Raises:
            UnknownPool, UnknownSlot: there is none.
            Refused: a rollout is in progress, or the slot has no drained backend.
        """
        raise NotImplementedError

    def pause(self, pool: str) -> bool:
        """Hold the requests for a pool; False when they were held already.

        Raises:
            UnknownPool: there is none of this name.
        """
        raise NotImplementedError

    def resume(self, pool: str) -> bool:
        """Let the requests for a pool go on; False when it was not paused.

        Raises:
            UnknownPool: there is none of this name.
        """
        raise NotImplementedError

    def unlock(self, pool: str) -> bool:
        """End the lock that a failed rollout left, and fill the slots again; False when there was none.

        Raises:
            UnknownPool: there is none of this name.
        """
        raise NotImplementedError

    def abort(self, pool: str) -> RolloutId | None:
        """Ask the rollout of a pool to end as soon as that leaves no slot half-way; None when none runs.

        Raises:
            UnknownPool: there is none of this name.
        """
        raise NotImplementedError

    def ready(self) -> bool:
        """Tell whether every pool has a backend that can be claimed."""
        raise NotImplementedError

    def status(self) -> dict[str, object]:
        """Give the state now, ready for JSON."""
        raise NotImplementedError

    def stop(self) -> None:
        """Stop gracefully; called a second time, at once."""
        raise NotImplementedError


async def run_proxy(config_path: Path | str | None = None) -> int:
    """Run a proxy until it is stopped.

    Args:
        config_path: the configuration; None looks where `find_configuration` does.

    Returns:
        The exit code of the process.

    Raises:
        ConfigError: it cannot start with this configuration.
    """
    raise NotImplementedError
