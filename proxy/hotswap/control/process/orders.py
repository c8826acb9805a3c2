"""The orders an operator gives, whichever way they come: admin API, signal or command line.

What they mean is said where they are named, in `hotswap.control.process.verbs`, and what is answered in which phase of
the process in `hotswap.core.process.answers`.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from typing import Any, Final

from hotswap.control.pools.static_pool import StaticPool
from hotswap.control.pools.supervised_pool import SupervisedPool
from hotswap.control.pools.unlocked import Unlocked
from hotswap.control.process.parts import Parts
from hotswap.control.process.status import describe, is_ready
from hotswap.control.rollout.reload import ReloadAnswer, Reloader
from hotswap.control.takeover.order import TakeoverOrder, TakeoverResult
from hotswap.control.takeover.predecessor import Order
from hotswap.control.takeover.takeovers import Takeovers
from hotswap.core.config import Configuration
from hotswap.core.identity import RolloutId
from hotswap.core.pool.pause_answer import PauseAnswer
from hotswap.core.process.answers import Answer, Verb, refuse
from hotswap.core.rollout.report import RolloutReport
from hotswap.core.rollout.rollout import Rollout

SIGNAL: Final = "signal"
"""The trigger of what nobody can be answered."""


class Orders:
    """The verbs and views of a running proxy, as `hotswap.control.process.verbs.Verbs` documents them."""

    def __init__(self, parts: Parts, takeovers: Takeovers) -> None:
        self.events = parts.events
        self.tally = parts.tally
        self.traffic = parts.traffic
        self._parts = parts
        self._takeovers = takeovers
        self._reloader = Reloader(parts)
        self._rereading = False

    # Verbs that reload.

    async def reload_all(self, *, trigger: str) -> ReloadAnswer:
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
        return await self._reloader.reload_pool(pool, trigger=trigger)

    async def reread_configuration(self, *, trigger: str = SIGNAL) -> ReloadAnswer:
        # By a signal during a takeover, when nobody could be answered that it is refused, logs are reopened everywhere
        # at once, and the rest is done when it is known who goes on, by that process.
        if self._parts.access is not None:
            self._parts.access.reopen()
        self._parts.predecessor.order(Order.REOPEN)
        if trigger == SIGNAL and await self._wait_whether_replaced():
            return ReloadAnswer()
        self._parts.manager.reloading()
        try:
            return await self._reloader.reread(trigger=trigger)
        finally:
            self._parts.manager.reloaded()

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

    # Verbs about the process.

    async def start_takeover(self, order: TakeoverOrder) -> TakeoverResult:
        return await self._takeovers.start(order)

    def stop(self) -> None:
        if self._parts.life.stop() is Answer.AT_ONCE:
            self._parts.log.warning("proxy.stopping_at_once")
            self._parts.predecessor.terminate(everybody=True)

    # Views.

    @property
    def config(self) -> Configuration:
        return self._parts.config

    def ready(self) -> bool:
        return is_ready(self._parts)

    async def look(self) -> None:
        await self._parts.facts.look()
        await self._parts.drains.look()

    def status(self) -> dict[str, Any]:
        current = self._takeovers.current
        return describe(self._parts, takeover=None if current is None else current.state.value)

    # Rollouts.

    async def wait_rollout(self, rollout_id: str) -> Rollout | RolloutReport:
        return await self._parts.book.wait_ended(rollout_id)

    async def rollout(self, rollout_id: str) -> Rollout | RolloutReport:
        await self._parts.book.look()
        return self._parts.book.find(rollout_id)

    async def rollouts(self) -> Sequence[Rollout | RolloutReport]:
        await self._parts.book.look()
        return self._parts.book.rollouts()

    def abort(self, pool: str) -> RolloutId | None:
        found = self._parts.pools[pool]
        for run in self._parts.book.unfinished():
            if run.rollout.pool == found.name:
                run.abort()
                return run.rollout.id
        return None

    # Verbs about pools.

    def drain(self, pool: str, slot: int) -> None:
        self._operable(pool).drain_slot(slot)

    def readmit(self, pool: str, slot: int) -> None:
        self._operable(pool).readmit_slot(slot)

    def pause(self, pool: str, answer: PauseAnswer | None = None) -> bool:
        found = self._operable(pool)
        self._parts.predecessor.order(Order.PAUSE, pool=found.name, answer=answer)
        return found.entries.pause(answer)

    def resume(self, pool: str) -> bool:
        found = self._operable(pool)
        self._parts.predecessor.order(Order.RESUME, pool=found.name)
        return found.entries.resume()

    def unlock(self, pool: str) -> Unlocked | None:
        found = self._operable(pool)
        return found.unlock() if isinstance(found, SupervisedPool) else None

    def _operable(self, pool: str) -> SupervisedPool | StaticPool:
        refused = refuse(self._parts.life.phase, Verb.OPERATE)
        if refused is not None:
            raise refused
        return self._parts.pools[pool]
