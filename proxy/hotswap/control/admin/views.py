"""Parts of the state as the calls give it: rollouts as reports, one pool, one slot, and why somebody is not ready."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import trio

from hotswap.control.process.verbs import Verbs
from hotswap.core.config import SupervisedPoolTable
from hotswap.core.errors import NotFound
from hotswap.core.pool.lifecycle import BackendState, Health
from hotswap.core.rollout.report import RolloutReport
from hotswap.core.rollout.rollout import Rollout


def report(rollout: Rollout | RolloutReport) -> dict[str, object]:
    """Give a rollout as JSON, as it is now."""
    found = rollout.report(trio.current_time()) if isinstance(rollout, Rollout) else rollout
    return found.to_json()


def find_pool(verbs: Verbs, name: str) -> dict[str, Any]:
    """Give a pool out of the status.

    Raises:
        NotFound: there is none of this name.
    """
    pools: Mapping[str, dict[str, Any]] = verbs.status()["pools"]
    if name not in pools:
        raise NotFound("pool", name, pools)
    return pools[name]


def find_slot(verbs: Verbs, pool: str, slot: str) -> int:
    """Read the number of a slot.

    Raises:
        NotFound: there is no such pool, or it has no slot of this number, or it is no number.
    """
    known = [str(one["slot"]) for one in find_pool(verbs, pool)["slots"]]
    if slot not in known:
        raise NotFound("slot", slot, known)
    return int(slot)


def detail_of(verbs: Verbs, name: str) -> dict[str, Any]:
    """Give a pool by itself: as in the status, with its name and timeouts."""
    table = verbs.config.pools.get(name)
    timeouts = None
    if isinstance(table, SupervisedPoolTable):
        timeouts = {"start": table.start_timeout, "drain": table.drain_timeout, "stop": table.stop_timeout}
    return {"name": name, **find_pool(verbs, name), "timeouts": timeouts}


def unready_reasons(status: Mapping[str, Any], *, errors: bool = True) -> list[str]:
    """Say, for each pool without a backend that can serve, what it has instead, and with `errors` why."""
    reasons = []
    for name, pool in status["pools"].items():
        backends = [(slot["slot"], backend) for slot in pool["slots"] for backend in slot["backends"]]
        if any(one["state"] == BackendState.READY and one["health"] == Health.HEALTHY for _, one in backends):
            continue
        found = ", ".join(f"slot {slot} is {_state_words(one)}" for slot, one in backends)
        found = f"{found or 'none is there'}{_error_words(pool) if errors else ''}"
        reasons.append(f"pool {name} has no backend that can serve: {found}")
    return reasons


def _state_words(backend: Mapping[str, Any]) -> str:
    """Say what a backend that cannot serve is doing; its health is news only of one that is ready."""
    match backend["state"]:
        case BackendState.READY:
            return f"ready, but {backend['health']}"
        case BackendState.BACKOFF:
            return "waiting for its next start"
        case state:
            return str(state)


def _error_words(pool: Mapping[str, Any]) -> str:
    """Say what went wrong in the slots of a pool, once where it was the same in all of them."""
    slots: dict[str, list[str]] = {}
    for slot in pool["slots"]:
        if slot["last_error"] is not None:
            slots.setdefault(slot["last_error"], []).append(str(slot["slot"]))
    told = [f"{'slots' if len(which) > 1 else 'slot'} {', '.join(which)}: {error}" for error, which in slots.items()]
    return "".join(f"; {one}" for one in told)
