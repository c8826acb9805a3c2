"""What the admin API needs of the running proxy, and nothing more: the verbs and the views."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from hotswap.control.events import EventLog
from hotswap.control.telemetry.traffic import TrafficRecorder
from hotswap.core.config import Configuration
from hotswap.core.identity import RolloutId
from hotswap.core.report import PastRollout
from hotswap.core.rollout import Rollout
from hotswap.core.tally import Tally

if TYPE_CHECKING:
    from hotswap.core.errors import Refused


class ReloadOutcome(Protocol):
    """What became of a reload of several pools; see `hotswap.control.runtime.ReloadAnswer`."""

    @property
    def rollouts(self) -> Sequence[Rollout]:
        """Those accepted, in the order in which they run."""

    @property
    def refusals(self) -> Mapping[str, Refused]:
        """Pools that stay as they are, with the reason."""

    @property
    def changes(self) -> Sequence[str]:
        """What else the configuration changed, in words."""


class Verbs(Protocol):
    """A running proxy, as `hotswap.control.runtime.Runtime` documents it."""

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

    async def reload_all(self, *, trigger: str) -> ReloadOutcome:
        """Read the configuration again and replace every supervised backend."""

    async def reload_pool(self, pool: str, *, trigger: str) -> Rollout:
        """Replace every backend of one pool."""

    async def reread_configuration(self, *, trigger: str = ...) -> ReloadOutcome:
        """Do what SIGHUP does."""

    async def wait_rollout(self, rollout_id: str) -> Rollout | PastRollout:
        """Block until a rollout has ended."""

    async def rollout(self, rollout_id: str) -> Rollout | PastRollout:
        """Give a rollout by its id."""

    async def rollouts(self) -> Sequence[Rollout | PastRollout]:
        """Give the rollouts that are remembered, the newest last."""

    def drain(self, pool: str, slot: int) -> None:
        """Take a slot out of rotation."""

    def readmit(self, pool: str, slot: int) -> None:
        """Bring it back."""

    def pause(self, pool: str) -> bool:
        """Hold requests; False when they were held already."""

    def resume(self, pool: str) -> bool:
        """Let them go on; False when it was not paused."""

    def unlock(self, pool: str) -> bool:
        """End a lock; False when there was none."""

    def abort(self, pool: str) -> RolloutId | None:
        """End the pool's rollout early; None when none runs."""

    def ready(self) -> bool:
        """Tell whether every pool has a backend that can be claimed."""

    async def look(self) -> None:
        """Look at the processes of the backends and at their exchanges, for the next `status` to tell of them."""

    def status(self) -> dict[str, Any]:
        """Give the state now; of processes and exchanges what the last `look` has found."""

    def stop(self) -> None:
        """Stop gracefully; a second time, at once."""
