"""Whether a trigger starts a rollout: the contract's refusals as a table, in the contract's order.

A refusal is a value that is computed from facts and changes nothing, so after any refusal a good trigger
works. The first row that holds is the answer, and no later row is looked at; that is why reading the
compatibility number, which may run a command, can be left until the cheap rows have passed: judge the facts
without it first, then again with what was read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hotswap.core.errors import Problem, RefusalCode, Refused
from hotswap.core.identity import RolloutId
from hotswap.core.process.answers import DETAILS
from hotswap.core.rollout.compatibility import Compatibility, Unreadable
from hotswap.core.strategy import Strategy


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerState:
    """The facts a trigger is judged by.

    Attributes:
        pool: the name of the pool.
        supervised: the proxy runs its processes.
        slots: how many slots it has.
        ready: how many of them serve: they have a backend that is ready and healthy.
        serving: the numbers of those.
        drained: the numbers of those that an operator has taken out of rotation.
        strategy: how a backend would be replaced.
        storage_shared: the app's store admits more than one process at a time.
        locked: why the pool is locked, or None.
        rollout: the rollout that is running in this pool, or None.
        shutting_down: the proxy is stopping.
        takeover_in_progress: a new proxy process is taking over.
        running: the number captured when the code that serves now was started; None without one.
        offered: the number of the new release; None without one, and before it was read.
        problems: what is wrong with the configuration that the rollout would use.
    """

    pool: str
    supervised: bool = True
    slots: int
    ready: int
    serving: tuple[int, ...] = ()
    drained: tuple[int, ...] = ()
    strategy: Strategy
    storage_shared: bool = True
    locked: str | None = None
    rollout: RolloutId | None = None
    shutting_down: bool = False
    takeover_in_progress: bool = False
    running: Compatibility | None = None
    offered: Compatibility | None = None
    problems: tuple[Problem, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Give the facts as they are shown with a refusal; the text of numbers, not their types."""
        return {
            "pool": self.pool,
            "supervised": self.supervised,
            "slots": self.slots,
            "ready": self.ready,
            "drained": list(self.drained),
            "strategy": self.strategy.value,
            "storage_shared": self.storage_shared,
            "locked": self.locked,
            "rollout": self.rollout,
            "shutting_down": self.shutting_down,
            "takeover_in_progress": self.takeover_in_progress,
            "compatibility": {
                "running": None if self.running is None else str(self.running),
                "offered": None if self.offered is None else str(self.offered),
            },
            "problems": [problem.to_json() for problem in self.problems],
        }


def rollout_in_progress(pool: str, rollout: RolloutId) -> str:
    """Say what an order about a pool has to wait for, and the verb that ends it."""
    return f"rollout {rollout} of pool {pool} is in progress; to end it: hotswap abort {pool}"


def _shutting_down(state: TriggerState) -> str | None:
    return DETAILS[RefusalCode.SHUTTING_DOWN] if state.shutting_down else None


def _takeover_in_progress(state: TriggerState) -> str | None:
    return DETAILS[RefusalCode.TAKEOVER_IN_PROGRESS] if state.takeover_in_progress else None


def _not_supervised(state: TriggerState) -> str | None:
    if state.supervised:
        return None
    return f"pool {state.pool} is static: something else runs its backends"


def _pool_too_small(state: TriggerState) -> str | None:
    # Where nothing serves, nothing can be lost.
    if state.slots > 1 or state.strategy is Strategy.SURGE or state.ready == 0:
        return None
    return f'pool {state.pool} has {_slots(state.slots)}; at least 2 are needed unless the strategy is "surge"'


def _storage_exclusive(state: TriggerState) -> str | None:
    if state.storage_shared or state.ready == 0:
        return None
    return f"the app of pool {state.pool} has a store for one process at a time (storage.shared is false)"


def _pool_locked(state: TriggerState) -> str | None:
    if state.locked is None:
        return None
    return (
        f"pool {state.pool} is locked ({state.locked}); once repaired: hotswap unlock {state.pool}, then "
        f"hotswap reload {state.pool}"
    )


def _rollout_in_progress(state: TriggerState) -> str | None:
    if state.rollout is None:
        return None
    return rollout_in_progress(state.pool, state.rollout)


def _not_ready(state: TriggerState) -> str | None:
    # Slots in which nothing is ready never refuse a reload, which is what repairs them: they are filled first.
    others = state.slots - state.ready - len(state.drained)
    if state.ready != 1 or not state.drained or others > 0 or state.strategy is Strategy.SURGE:
        return None
    only = f"slot {state.serving[0]}" if state.serving else "one slot"
    drained = ", ".join(str(slot) for slot in state.drained)
    return (
        f"{only} of pool {state.pool} alone serves, because an operator has drained slot {drained}, and replacing it "
        f"would leave none; first: hotswap readmit {state.pool} {state.drained[0]}"
    )


def _compatibility_mismatch(state: TriggerState) -> str | None:
    running, offered = state.running, state.offered
    # Where nothing serves there is nothing to be incompatible with. Without a number on both sides there is nothing
    # to compare; an unreadable one is the next row's matter.
    if state.ready == 0 or not isinstance(running, str) or not isinstance(offered, str) or running == offered:
        return None
    return (
        f"the new code of pool {state.pool} has compatibility number {offered!r} and what runs now has "
        f"{running!r}: stop and start the proxy instead"
    )


def _compatibility_unreadable(state: TriggerState) -> str | None:
    # New code without a number has nothing to be compared with, nor has any where nothing serves: it is started as at
    # boot, where an unreadable one is told and read again.
    if state.offered is None or state.ready == 0:
        return None
    for whose, number in (("the new code", state.offered), ("what runs now", state.running)):
        if isinstance(number, Unreadable):
            return f"the compatibility number of {whose} in pool {state.pool} cannot be read: {number.detail}"
    return None


def _config_invalid(state: TriggerState) -> str | None:
    return "; ".join(str(problem) for problem in state.problems) or None


def _slots(number: int) -> str:
    return "1 slot" if number == 1 else f"{number} slots"


CHECKS: tuple[tuple[RefusalCode, Callable[[TriggerState], str | None]], ...] = (
    (RefusalCode.SHUTTING_DOWN, _shutting_down),
    (RefusalCode.TAKEOVER_IN_PROGRESS, _takeover_in_progress),
    (RefusalCode.NOT_SUPERVISED, _not_supervised),
    (RefusalCode.POOL_TOO_SMALL, _pool_too_small),
    (RefusalCode.STORAGE_EXCLUSIVE, _storage_exclusive),
    (RefusalCode.POOL_LOCKED, _pool_locked),
    (RefusalCode.ROLLOUT_IN_PROGRESS, _rollout_in_progress),
    (RefusalCode.NOT_READY, _not_ready),
    (RefusalCode.COMPATIBILITY_MISMATCH, _compatibility_mismatch),
    (RefusalCode.COMPATIBILITY_UNREADABLE, _compatibility_unreadable),
    (RefusalCode.CONFIG_INVALID, _config_invalid),
)
"""One row a refusal: its code, and a function that gives the detail when it holds."""


def check_trigger(state: TriggerState) -> Refused | None:
    """Judge a trigger.

    Returns:
        The first refusal that holds, to be raised, logged and counted by the caller; None lets the trigger
        pass.
    """
    for code, check in CHECKS:
        detail = check(state)
        if detail is not None:
            return Refused(code, detail, state.to_json())
    return None
