"""The orders an operator gives, whichever way they come: admin API, signal or command line.

Each is refused with its reason, or done; what takes time is waited for by whoever asks. Those that must read a file
or run a command first are async; each answers only when it is decided. What is answered in which phase of the
process is in `hotswap.core.process.answers`.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from typing import Any, Final

from hotswap.control.pools.static_pool import StaticPool
from hotswap.control.pools.supervised_pool import SupervisedPool
from hotswap.control.process.parts import Parts
from hotswap.control.process.status import describe, is_ready
from hotswap.control.rollout.reload import ReloadAnswer, Reloader
from hotswap.control.takeover.order import TakeoverOrder, TakeoverResult
from hotswap.control.takeover.predecessor import Order
from hotswap.control.takeover.takeovers import Takeovers
from hotswap.core.config import Configuration
from hotswap.core.identity import RolloutId
from hotswap.core.process.answers import Answer, Verb, refuse
from hotswap.core.report import PastRollout
from hotswap.core.rollout import Rollout

SIGNAL: Final = "signal"
"""The trigger of what nobody can be answered."""


class Orders:
    """The verbs and views of a running proxy, as `hotswap.control.process.verbs.Verbs` names them."""

    def __init__(self, parts: Parts, takeovers: Takeovers) -> None:
        self.events = parts.events
        self.tally = parts.tally
        self.traffic = parts.traffic
        self._parts = parts
        self._takeovers = takeovers
        self._reloader = Reloader(parts)
        self._rereading = False

    def _operable(self, pool: str) -> SupervisedPool | StaticPool:
        """Give a pool that an operator may have something done with now.

        Raises:
            UnknownPool: there is none of this name.
            Refused: a takeover is in progress.
        """
        refused = refuse(self._parts.life.phase, Verb.OPERATE)
        if refused is not None:
            raise refused
        return self._parts.pools[pool]

    async def _wait_whether_replaced(self) -> bool:
        """Block while a takeover could still end in either way; tell whether another process has everything.

        Of several that wait one goes on: what it does is done for all.
        """
        life = self._parts.life
        if life.answer(Verb.SIGHUP) is not Answer.WAIT:
            return False
        if self._takeovers.current is not None:
            self._takeovers.current.pass_on(signal.SIGHUP)
        if self._rereading:
            return True
        self._rereading = True
        try:
            await life.settled.wait()
            if self._takeovers.current is not None:
                await self._takeovers.current.ended.wait()
            return self._takeovers.current is not None
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
        following = self._takeovers.current
        if trigger == SIGNAL and following and self._parts.life.answer(Verb.SIGUSR2) is Answer.PASS_ON:
            following.pass_on(signal.SIGUSR2)
            return ReloadAnswer()
        self._parts.manager.reloading()
        try:
            return await self._reloader.reload_all(trigger=trigger)
        finally:
            self._parts.manager.reloaded()

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
        self._parts.access.reopen()
        self._parts.predecessor.order(Order.REOPEN)
        if trigger == SIGNAL and await self._wait_whether_replaced():
            return ReloadAnswer()
        self._parts.manager.reloading()
        try:
            return await self._reloader.reread(trigger=trigger)
        finally:
            self._parts.manager.reloaded()

    async def start_takeover(self, order: TakeoverOrder) -> TakeoverResult:
        """Hand everything to a new process, and wait until it is known whether that went well.

        Raises:
            Refused: it was not begun; nothing was changed.
            TakeoverFailed: it was given up; everything is as before.
        """
        return await self._takeovers.start(order)

    def stop(self) -> None:
        """Stop gracefully; called a second time, at once."""
        if self._parts.life.stop() is Answer.AT_ONCE:
            self._parts.log.warning("proxy.stopping_at_once")
            self._parts.predecessor.terminate(everybody=True)

    # Views.

    @property
    def config(self) -> Configuration:
        """What is in force."""
        return self._parts.config

    def ready(self) -> bool:
        """Tell whether it has started and every pool has a backend that can be claimed."""
        return is_ready(self._parts)

    async def look(self) -> None:
        """Look at the processes of the backends, for the next `status` to tell of them."""
        await self._parts.facts.look()

    def status(self) -> dict[str, Any]:
        """Give the state now, ready for JSON; of processes what the last `look` has found."""
        current = self._takeovers.current
        return describe(self._parts, takeover=None if current is None else current.state.value)

    # Rollouts.

    async def wait_rollout(self, rollout_id: str) -> Rollout | PastRollout:
        """Block until a rollout has ended, and give it.

        Raises:
            UnknownRollout: none of this id is remembered.
        """
        return await self._parts.book.wait_ended(rollout_id)

    def rollout(self, rollout_id: str) -> Rollout | PastRollout:
        """Give a rollout that runs or is remembered.

        Raises:
            UnknownRollout: none of this id is remembered.
        """
        return self._parts.book.find(rollout_id)

    def rollouts(self) -> Sequence[Rollout | PastRollout]:
        """Give the rollouts that are remembered, the newest last."""
        return self._parts.book.rollouts()

    def abort(self, pool: str) -> RolloutId | None:
        """Ask the rollout of a pool to end as soon as that leaves no slot half-way; None when none runs.

        Raises:
            UnknownPool: there is none of this name.
        """
        found = self._parts.pools[pool]
        for run in self._parts.book.unfinished():
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
        self._operable(pool).drain_slot(slot)

    def readmit(self, pool: str, slot: int) -> None:
        """Bring a drained backend back into rotation; nothing happens when it is there.

        Raises:
            UnknownPool, UnknownSlot: there is none.
            Refused: a rollout is in progress, or the slot has no backend that is ready.
        """
        self._operable(pool).readmit_slot(slot)

    def pause(self, pool: str) -> bool:
        """Hold the requests for a pool; False when they were held already.

        Raises:
            UnknownPool: there is none of this name.
            Refused: a takeover is in progress.
        """
        found = self._operable(pool)
        self._parts.predecessor.order(Order.PAUSE, pool=found.name)
        return found.entries.pause()

    def resume(self, pool: str) -> bool:
        """Let the requests for a pool go on; False when it was not paused.

        Raises:
            UnknownPool: there is none of this name.
            Refused: a takeover is in progress.
        """
        found = self._operable(pool)
        self._parts.predecessor.order(Order.RESUME, pool=found.name)
        return found.entries.resume()

    def unlock(self, pool: str) -> bool:
        """End the lock that a failed rollout left, and fill the slots again; False when there was none.

        Raises:
            UnknownPool: there is none of this name.
        """
        found = self._operable(pool)
        return isinstance(found, SupervisedPool) and found.unlock()
