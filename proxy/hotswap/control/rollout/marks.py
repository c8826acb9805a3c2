"""Checks pools for the refusals and reserves them for a rollout, so that no other trigger gets in between.

Plain functions without an await, so nothing can come between a check and its mark.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from hotswap.control.pools.static_pool import StaticPool
from hotswap.control.pools.supervised_pool import SupervisedPool
from hotswap.control.process.parts import Parts
from hotswap.control.rollout.offer import Offer
from hotswap.core.errors import Refused
from hotswap.core.identity import RolloutId
from hotswap.core.process.answers import Verb, refuse
from hotswap.core.rollout.compatibility import Compatibility
from hotswap.core.rollout.refusal import TriggerState, check_trigger
from hotswap.core.strategy import Strategy


def _compared(pool: SupervisedPool, offer: Offer) -> Compatibility | None:
    """Give the number that new code is compared with: of what serves, one that differs where there are several."""
    serving = [member.release.compatibility for member in pool.members if member.backend.claimable]
    differing = [number for number in serving if number != offer.compatibility]
    return (differing or serving or [pool.release.compatibility])[0]


class Marks:
    """Refuses triggers, and reserves pools for the rollouts of the others."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def refuse_for_all(self, pool: str = "") -> None:
        """Refuse what no pool can change: the end, a takeover, and the time before there are pools.

        Before that, a trigger must not get in between what is read and what is set up. The refusal is told of the pool
        that was asked for, if it was one.

        Raises:
            Refused: it was logged and counted.
        """
        refused = refuse(self._parts.life.phase, Verb.RELOAD)
        if refused is not None:
            raise self.tell(pool, refused)

    def mark(self, pool: SupervisedPool | StaticPool) -> RolloutId:
        """Refuse a trigger, or reserve the pool for the rollout that it leads to.

        Rows that depend on the definition are judged when it has been read, so they hold nobody up here; when
        another row refuses, the answer is the first row all the same.

        Raises:
            Refused: it was logged and counted.
        """
        state = self._facts(pool)
        undefined = replace(state, strategy=Strategy.SURGE, storage_shared=True)
        if check_trigger(undefined) is not None:
            refusal = check_trigger(state)
            assert refusal is not None, "fewer rows hold when two cannot"
            raise self.tell(pool.name, refusal)
        assert isinstance(pool, SupervisedPool), "static pools are refused"
        pool.marked = self._parts.book.next_id()
        return pool.marked

    def mark_all(
        self, pools: Iterable[SupervisedPool], marked: dict[str, RolloutId], refusals: dict[str, Refused]
    ) -> None:
        """Mark several pools, and add what came of it to what is known already."""
        for pool in pools:
            try:
                marked[pool.name] = self.mark(pool)
            except Refused as refused:
                refusals[pool.name] = refused

    def unmark(self, marked: Mapping[str, RolloutId]) -> None:
        """Let go of pools that are not rolled after all, and of the ids that their rollouts would have had."""
        for name, rollout_id in marked.items():
            pool = self._parts.pools.find(name)
            if isinstance(pool, SupervisedPool) and pool.marked == rollout_id:
                pool.marked = None
            self._parts.book.give_back(rollout_id)

    def check(self, pool: SupervisedPool, offer: Offer) -> Refused | None:
        """Judge a marked pool again, with all that was read meanwhile."""
        state = replace(
            self._facts(pool),
            running=_compared(pool, offer),
            rollout=None,
            strategy=offer.table.rollout.strategy,
            storage_shared=offer.table.storage.shared,
            staying=min(pool.core.size, offer.table.slots(self._parts.processors)),
            offered=offer.compatibility,
            problems=offer.problems,
        )
        return check_trigger(state)

    def _facts(self, pool: SupervisedPool | StaticPool) -> TriggerState:
        parts, core = self._parts, pool.core
        state = TriggerState(
            pool=pool.name,
            supervised=False,
            slots=core.size,
            ready=len(core.ready_slots()),
            strategy=Strategy.DRAIN_FIRST,
            shutting_down=parts.life.stopping,
            takeover_in_progress=parts.life.taken_over,
        )
        if isinstance(pool, StaticPool):
            return state
        return replace(
            state,
            supervised=True,
            serving=tuple(sorted(core.ready_slots())),
            drained=tuple(slot for slot in range(core.size) if pool.is_drained(slot)),
            strategy=pool.table.rollout.strategy,
            storage_shared=pool.table.storage.shared,
            locked=core.locked,
            rollout=pool.rollout_id,
            # One that leaves is stopped too, and goes on when it is wanted again.
            shutting_down=state.shutting_down or (pool.stopping and parts.pools.leaving(pool.name) is not pool),
            running=pool.release.compatibility,
        )

    def tell(self, pool: str, refusal: Refused) -> Refused:
        """Log, count and publish a refusal."""
        parts = self._parts
        parts.tally.rollout_refusals[pool, refusal.code.value] += 1
        parts.log.warning("rollout.refused", pool=pool, code=refusal.code.value, detail=refusal.detail)
        parts.events.publish("rollout.refused", pool=pool, code=refusal.code.value, detail=refusal.detail)
        return refusal
