"""The orders an operator gives, whichever way they come: admin API, signal or command line.

Each is refused with its reason, or done; what takes time is waited for by whoever asks.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import trio

from hotswap.control.pools.supervised_pool import SupervisedPool
from hotswap.control.rollout.reload import ReloadAnswer
from hotswap.control.takeover.predecessor import Order
from hotswap.core.errors import RefusalCode, Refused
from hotswap.core.identity import RolloutId
from hotswap.core.report import PastRollout
from hotswap.core.rollout import Rollout
from hotswap.core.takeover_old import OldState

if TYPE_CHECKING:
    from hotswap.control.pools.pool_set import PoolSet
    from hotswap.control.rollout.book import RolloutBook
    from hotswap.control.rollout.reload import Reloader
    from hotswap.control.takeover.predecessor import Predecessor
    from hotswap.control.takeover.takeover import Takeover
    from hotswap.control.telemetry.access import AccessLog
    from hotswap.control.telemetry.drains import DrainsBook
    from hotswap.control.telemetry.facts import FactsBook
    from hotswap.control.telemetry.notify import ServiceManager


SIGNAL: Final = "signal"
"""The trigger of what nobody can be answered."""


class Orders:
    """The part of the runtime that operators speak to."""

    manager: ServiceManager
    pools: PoolSet
    book: RolloutBook
    _reloader: Reloader
    access: AccessLog
    facts: FactsBook
    drains: DrainsBook

    predecessor: Predecessor
    takeover: Takeover | None
    settled: trio.Event
    _rereading: bool = False

    @property
    def taken_over(self) -> bool:
        """A takeover is going on, so nothing else may begin."""
        raise NotImplementedError

    def _refuse_while_taken_over(self) -> None:
        if self.taken_over:
            raise Refused(RefusalCode.TAKEOVER_IN_PROGRESS, "a new proxy process is taking over; ask it afterwards", {})

    def _owns_backends(self) -> bool:
        """Nobody else has them, as the process does that takes over from this one, from its trial on."""
        return self.takeover is None or self.takeover.returned

    @property
    def succeeding(self) -> bool:
        """This process takes over, and everything could still return."""
        raise NotImplementedError

    # Signals, which have no answer, reach whoever serves.

    def reopen_logs(self) -> None:
        """Open the log files of this process anew."""
        self.access.reopen()

    def _pass_on(self, number: signal.Signals) -> bool:
        """Send a signal on to the process that has everything; False when it is this one."""
        if self.takeover is None or self.takeover.state is not OldState.DRAINING:
            return False
        self.takeover.pass_on(number)
        return True

    async def _wait_whether_replaced(self) -> bool:
        """Block while a takeover could still end in either way; tell whether another process has everything.

        Of several that wait one goes on: what it does is done for all.
        """
        if self.takeover is not None:
            self.takeover.pass_on(signal.SIGHUP)
        if self.takeover is None and not self.succeeding:
            return False
        if self._rereading:
            return True
        self._rereading = True
        try:
            if self.succeeding:
                await self.settled.wait()
            if self.takeover is not None:
                await self.takeover.ended.wait()
            return self.takeover is not None
        finally:
            self._rereading = False

    # Verbs that reload.

    async def reload_all(self, *, trigger: str) -> ReloadAnswer:
        """Read the configuration again, then replace every backend of every supervised pool.

        Args:
            trigger: who asked, one word for log and report: `signal`, `api`.

        Raises:
            Refused: nothing was changed.
        """
        if trigger == SIGNAL and self._pass_on(signal.SIGUSR2):
            return ReloadAnswer()
        self.manager.reloading()
        try:
            return await self._reloader.reload_all(trigger=trigger)
        finally:
            self.manager.reloaded()

    async def reload_pool(self, pool: str, *, trigger: str) -> Rollout:
        """Replace every backend of one pool, by its definition in the file as it is now.

        Raises:
            UnknownPool: there is none of this name.
            Refused: nothing was changed.
        """
        return await self._reloader.reload_pool(pool, trigger=trigger)

    async def reread_configuration(self, *, trigger: str = "signal") -> ReloadAnswer:
        """Read configuration and certificates again, reopen logs, replace what changed.

        By a signal during a takeover, when nobody could be answered that it is refused: logs are reopened everywhere
        at once, and the rest is done when it is known who goes on, by that process.

        Raises:
            ConfigError: nothing was changed.
            Refused: a pool that changed cannot be replaced now; nothing was changed.
        """
        self.reopen_logs()
        self.predecessor.order(Order.REOPEN)
        if trigger == SIGNAL and await self._wait_whether_replaced():
            return ReloadAnswer()
        self.manager.reloading()
        try:
            return await self._reloader.reread(trigger=trigger)
        finally:
            self.manager.reloaded()

    # Views.

    async def look(self) -> None:
        """Look at the processes of the backends and at their exchanges, for the next `status` to tell of them."""
        await self.facts.look()
        await self.drains.look()

    # Rollouts.

    async def wait_rollout(self, rollout_id: str) -> Rollout | PastRollout:
        """Block until a rollout has ended, and give it.

        Raises:
            UnknownRollout: none of this id is remembered.
        """
        return await self.book.wait_ended(rollout_id)

    async def rollout(self, rollout_id: str) -> Rollout | PastRollout:
        """Give a rollout that runs or is remembered, and what its drain waits for.

        Raises:
            UnknownRollout: none of this id is remembered.
        """
        await self.book.look()
        return self.book.find(rollout_id)

    async def rollouts(self) -> Sequence[Rollout | PastRollout]:
        """Give the rollouts that are remembered, the newest last, and what their drains wait for."""
        await self.book.look()
        return self.book.rollouts()

    def abort(self, pool: str) -> RolloutId | None:
        """Ask the rollout of a pool to end as soon as that leaves no slot half-way; None when none runs.

        Raises:
            UnknownPool: there is none of this name.
        """
        found = self.pools[pool]
        for run in self.book.unfinished():
            if run.rollout.pool == found.name:
                run.abort()
                return run.rollout.id
        return None

    # Verbs about pools.

    def drain(self, pool: str, slot: int) -> None:
        """Take the backend of a slot out of rotation and leave it running.

        Raises:
            UnknownPool, UnknownSlot: there is none.
            Refused: a rollout is in progress, or no other backend could be claimed then.
        """
        self._refuse_while_taken_over()
        self.pools[pool].drain_slot(slot)

    def readmit(self, pool: str, slot: int) -> None:
        """Bring a drained backend back into rotation; nothing happens when it is there.

        Raises:
            UnknownPool, UnknownSlot: there is none.
            Refused: a rollout is in progress, or the slot has no backend that is ready.
        """
        self._refuse_while_taken_over()
        self.pools[pool].readmit_slot(slot)

    def pause(self, pool: str) -> bool:
        """Hold the requests for a pool; False when they were held already.

        Raises:
            UnknownPool: there is none of this name.
            Refused: a takeover is in progress.
        """
        self._refuse_while_taken_over()
        found = self.pools[pool]
        self.predecessor.order(Order.PAUSE, pool=found.name)
        return found.entries.pause()

    def resume(self, pool: str) -> bool:
        """Let the requests for a pool go on; False when it was not paused.

        Raises:
            UnknownPool: there is none of this name.
            Refused: a takeover is in progress.
        """
        self._refuse_while_taken_over()
        found = self.pools[pool]
        self.predecessor.order(Order.RESUME, pool=found.name)
        return found.entries.resume()

    def unlock(self, pool: str) -> bool:
        """End the lock that a failed rollout left, and fill the slots again; False when there was none.

        Raises:
            UnknownPool: there is none of this name.
        """
        found = self.pools[pool]
        self._refuse_while_taken_over()
        return isinstance(found, SupervisedPool) and found.unlock()
