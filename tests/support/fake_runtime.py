"""A proxy without processes and sockets: real pools, real rollouts, and a script that says how rollouts go.

It has the verbs of `hotswap.control.process.verbs.Verbs`, so the admin API and the command line can be tested in every
situation without waiting for one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import trio

from hotswap.control.admin.serving import serve_admin
from hotswap.control.admin.sockets import AdminDoor
from hotswap.control.pools.unlocked import Unlocked
from hotswap.control.rollout.reload import ReloadAnswer
from hotswap.control.takeover.order import TakeoverFailed, TakeoverOrder, TakeoverResult
from hotswap.control.telemetry.events import EventLog
from hotswap.control.telemetry.traffic import TrafficRecorder
from hotswap.core.address import Address, TcpAddress
from hotswap.core.config import Configuration, SupervisedPoolTable, parse_draft
from hotswap.core.errors import (
    ConfigError,
    NotFound,
    PoolNotStarted,
    Problem,
    ProxyError,
    RefusalCode,
    Refused,
    StartFailure,
)
from hotswap.core.identity import RolloutId
from hotswap.core.pool.backend import Backend
from hotswap.core.pool.lifecycle import BackendState, Health
from hotswap.core.pool.pause_answer import PauseAnswer
from hotswap.core.pool.traffic import Served
from hotswap.core.rollout.events import (
    AbortRequested,
    OldDrained,
    OldExited,
    ReplacementFailed,
    ReplacementGone,
    ReplacementReady,
    SlotsSeen,
)
from hotswap.core.rollout.queue import QueuedSlot
from hotswap.core.rollout.rollout import Rollout
from hotswap.core.rollout.step_table import StepState
from hotswap.core.strategy import Balance, OnFailure, Strategy
from hotswap.core.tally import Tally
from tests.support.joined_pool import JoinedPool

CONFIGURATION = """
[admin]
bind = ["127.0.0.1:0"]

[listeners.public]
bind = ["127.0.0.1:0"]

[[routes]]
pool = "web"

[pools.web]
server = "command"
command = ["serve", "{fd}"]
drain_timeout = "30s"

[pools.legacy]
addresses = ["127.0.0.1:1"]
"""


class FakeRuntime:
    """Pools and rollouts that change as the test says.

    Attributes:
        config_path: the file that it says it runs.
        refusal: raised by every reload while set.
        broken: raised by every verb while set, as a defect would be.
        changed: the pools that are rolled when the configuration is read again.
        changes: what else it changes.
        down: pools in which nothing serves and that it leaves as they are.
        outcome: how the next rollout goes: `done`, `failed`, or `held` until `go_on` is set.
        asked_for_rollout: somebody looked at a rollout this often.
        asked_for_status: `status` was called this often.
        go_on: lets a held rollout end.
        stopping: `stop` was called this often.
        handed_over: what becomes of a takeover.
    """

    def __init__(self, nursery: trio.Nursery, text: str = CONFIGURATION) -> None:
        self.config_path = "/nowhere/hotswap.toml"
        self.config: Configuration = parse_draft(text, origin=self.config_path).accept()
        self.events = EventLog()
        self.tally = Tally()
        self.served: dict[str, Served] = {}
        self.traffic = TrafficRecorder(lambda: self.served, lambda *_: None)
        self.refusal: Refused | PoolNotStarted | None = None
        self.broken: Exception | None = None
        self.config_problems: tuple[Problem, ...] = ()
        self.changed: tuple[str, ...] = ()
        self.changes: tuple[str, ...] = ("pool web: hold_limit",)
        self.down: tuple[str, ...] = ()
        self.outcome = "done"
        self.go_on = trio.Event()
        self.stopping = 0
        self.handed_over = TakeoverResult(done=True, generation=2, pid=4711, version="9.9")
        self.triggers: list[str] = []
        self.asked_for_rollout = 0
        self.asked_for_status = 0
        self.cores: dict[str, JoinedPool] = {}
        self._nursery = nursery
        self._rollouts: dict[str, Rollout] = {}
        self._ended: dict[str, trio.Event] = {}
        for name, table in self.config.pools.items():
            supervised = isinstance(table, SupervisedPoolTable)
            size = table.slots(2)
            pool = JoinedPool(name=name, balance=Balance.LEAST_IN_FLIGHT, size=size, supervised=supervised)
            for slot in range(size):
                self.fill(pool, slot, generation=1)
            self.cores[name] = pool

    @staticmethod
    def fill(pool: JoinedPool, slot: int, *, generation: int) -> Backend:
        """Put a ready and healthy backend into a slot."""
        backend = pool.add(
            slot=slot,
            generation=generation,
            address=TcpAddress("127.0.0.1", 9),
            now=trio.current_time(),
            pid=1000 + slot,
        )
        pool.move(backend, BackendState.READY, now=trio.current_time())
        pool.set_health(backend, Health.HEALTHY)
        return backend

    async def look(self) -> None:
        """There are no processes."""

    # Reloads.

    async def reload_all(self, *, trigger: str) -> ReloadAnswer:
        """Reload the supervised pools; the static one is left out."""
        self.check()
        rollouts = [await self.reload_pool(n, trigger=trigger) for n, p in self.cores.items() if p.supervised]
        return ReloadAnswer(rollouts=tuple(rollouts))

    async def reload_pool(self, pool: str, *, trigger: str) -> Rollout:
        """Start a rollout that goes as `outcome` says."""
        core = self.pool(pool)
        self.check()
        self.triggers.append(trigger)
        running = self.running(pool)
        if running is not None:
            detail = f"rollout {running.id} of pool {pool} is in progress"
            raise Refused(RefusalCode.ROLLOUT_IN_PROGRESS, detail, {"pool": pool, "rollout": running.id})
        if not core.supervised:
            raise Refused(RefusalCode.NOT_SUPERVISED, f"pool {pool} is static", {"pool": pool})
        if core.locked is not None:
            raise Refused(RefusalCode.POOL_LOCKED, f"pool {pool} is locked", {"pool": pool, "locked": core.locked})
        rollout = Rollout(
            id=RolloutId(f"r{len(self._rollouts) + 1}"),
            pool=pool,
            trigger=trigger,
            strategy=Strategy.DRAIN_FIRST,
            on_failure=OnFailure.LOCK,
            generation=len(self._rollouts) + 2,
            queue=[QueuedSlot(slot=slot, generation=1) for slot in range(core.size)],
            size=core.size,
            started=datetime.now(UTC),
            now=trio.current_time(),
        )
        self._rollouts[rollout.id] = rollout
        self._ended[rollout.id] = trio.Event()
        self._nursery.start_soon(self._perform, rollout, core)
        return rollout

    async def reread_configuration(self, *, trigger: str = "signal") -> ReloadAnswer:
        """Find the problems the test has put in, or nothing changed."""
        self.check()
        if self.config_problems:
            raise ConfigError(self.config_problems)
        rollouts = [await self.reload_pool(name, trigger=trigger) for name in self.changed]
        return ReloadAnswer(rollouts=tuple(rollouts), changes=self.changes, down=self.down)

    def check(self) -> None:
        """Raise what the test asked for."""
        if self.broken is not None:
            raise self.broken
        if self.refusal is not None:
            raise self.refusal

    async def _perform(self, rollout: Rollout, core: JoinedPool) -> None:
        self.events.publish("rollout.started", pool=core.name, rollout=rollout.id)
        rollout.begin(now=trio.current_time())
        while rollout.in_progress:
            every = frozenset(range(core.size))
            rollout.on(SlotsSeen(ready=every, lost=frozenset()), now=trio.current_time())
            if rollout.step is None:
                break
            slot = rollout.step.slot
            old = next(one for one in core.backends if one.slot == slot)
            core.move(old, BackendState.DRAINING, now=trio.current_time())
            self.events.publish("backend.draining", pool=core.name, slot=slot)
            if self.outcome == "held":
                await self.go_on.wait()
            if rollout.step is not None and rollout.step.state is StepState.ABORTING:
                core.move(old, BackendState.READY, now=trio.current_time())
                rollout.on(ReplacementGone(slot=slot), now=trio.current_time())
                break
            if self.outcome == "failed":
                failure = ReplacementFailed(
                    slot=slot,
                    reason=StartFailure.EXITED,
                    detail="it exited with code 1 before it was ready",
                    output=("Traceback (most recent call last):", "ModuleNotFoundError: No module named 'shop'"),
                )
                rollout.on(failure, now=trio.current_time())
                core.move(old, BackendState.READY, now=trio.current_time())
                rollout.on(ReplacementGone(slot=slot), now=trio.current_time())
                core.lock(f"rollout {rollout.id} failed")
                break
            rollout.on(ReplacementReady(slot=slot), now=trio.current_time())
            self.fill(core, slot, generation=rollout.generation)
            rollout.on(OldDrained(slot=slot), now=trio.current_time())
            rollout.on(OldExited(slot=slot), now=trio.current_time())
            core.remove(old)
        self.events.publish("rollout.ended", pool=core.name, rollout=rollout.id, outcome=rollout.outcome)
        self._ended[rollout.id].set()

    async def wait_rollout(self, rollout_id: str) -> Rollout:
        """Wait for its end."""
        rollout = await self.rollout(rollout_id)
        await self._ended[rollout.id].wait()
        return rollout

    async def rollout(self, rollout_id: str) -> Rollout:
        """Give one."""
        self.asked_for_rollout += 1
        if rollout_id not in self._rollouts:
            raise NotFound("rollout", rollout_id, self._rollouts)
        return self._rollouts[rollout_id]

    async def rollouts(self) -> Sequence[Rollout]:
        """Give all."""
        return tuple(self._rollouts.values())

    def forget_rollouts(self) -> None:
        """Know none any more, as after a restart."""
        self._rollouts.clear()

    def running(self, pool: str) -> Rollout | None:
        """Give the one in progress."""
        return next((r for r in self._rollouts.values() if r.pool == pool and r.in_progress), None)

    # Verbs.

    def pool(self, name: str) -> JoinedPool:
        """Give a pool."""
        if name not in self.cores:
            raise NotFound("pool", name, self.cores)
        return self.cores[name]

    def backend(self, pool: str, slot: int) -> Backend:
        """Give what fills a slot."""
        for backend in self.pool(pool).backends:
            if backend.slot == slot:
                return backend
        raise NotFound("slot", slot, range(self.pool(pool).size))

    def drain(self, pool: str, slot: int) -> None:
        """Drain a slot, unless a rollout runs."""
        running = self.running(pool)
        if running is not None:
            raise Refused(RefusalCode.ROLLOUT_IN_PROGRESS, f"rollout {running.id} runs", {"rollout": running.id})
        if self.backend(pool, slot).state is BackendState.READY:
            self.pool(pool).move(self.backend(pool, slot), BackendState.DRAINING, now=trio.current_time())

    def readmit(self, pool: str, slot: int) -> None:
        """Bring it back."""
        if self.backend(pool, slot).state is BackendState.DRAINING:
            self.pool(pool).move(self.backend(pool, slot), BackendState.READY, now=trio.current_time())

    def pause(self, pool: str, answer: PauseAnswer | None = None) -> bool:
        """Pause."""
        core = self.pool(pool)
        before = (core.paused, core.answer)
        core.pause(answer)
        return before != (True, answer)

    def resume(self, pool: str) -> bool:
        """Resume."""
        core = self.pool(pool)
        before = core.paused
        core.resume()
        return before

    def unlock(self, pool: str) -> Unlocked | None:
        """Unlock; no slot is ever empty."""
        core = self.pool(pool)
        before = core.locked
        core.unlock()
        return None if before is None else Unlocked(serving=tuple(sorted(core.ready_slots())))

    def abort(self, pool: str) -> RolloutId | None:
        """Ask the rollout to end."""
        self.pool(pool)
        running = self.running(pool)
        if running is None:
            return None
        running.on(AbortRequested(), now=trio.current_time())
        return running.id

    def ready(self) -> bool:
        """Every pool has a claimable backend."""
        return all(pool.ready_slots() for pool in self.cores.values())

    def status(self) -> dict[str, Any]:
        """Give the state in the form of the real one."""
        self.asked_for_status += 1
        if self.broken is not None:
            raise self.broken
        pools: dict[str, Any] = {}
        for name, core in self.cores.items():
            running = self.running(name)
            pools[name] = {
                "size": core.size,
                "supervised": core.supervised,
                "generation": 1,
                "locked": core.locked,
                "paused": core.paused,
                "answer": None if core.answer is None else core.answer.tell(),
                "outlook": core.outlook().value,
                "compatibility": None,
                "held": 0,
                "spooled": 0,
                "directories": [],
                "rollout": None if running is None else running.id,
                "slots": [
                    {
                        "slot": slot,
                        "hopeful": core.expects(slot),
                        "failed_starts": core.failed_starts(slot),
                        "attempts": core.failed_starts(slot),
                        "last_error": None if (error := core.last_error(slot)) is None else error.text,
                        "exit": None if error is None else error.exit,
                        "next_try": None,
                        "release": "/srv/shop" if core.supervised else None,
                        "drained": any(one.state is BackendState.DRAINING for one in core.backends if one.slot == slot),
                        "backends": [
                            {
                                "id": one.id,
                                "generation": one.generation,
                                "state": one.state.value,
                                "health": one.health.value,
                                "in_flight": core.claims.candidates[one.id].in_flight,
                                "served": core.claims.candidates[one.id].served,
                                "connections": 0,
                                "pid": one.pid,
                                "address": str(one.address),
                                "since": "2025-01-01T00:00:00.000Z",
                                "release": "/srv/shop" if core.supervised else None,
                                "status": "",
                                "drain_left": 12.0 if one.state is BackendState.DRAINING else None,
                                "uptime": 90.0 if core.supervised else None,
                                "memory": 48 * 1024 * 1024 if core.supervised else None,
                                "waiting_for": [],
                            }
                            for one in core.backends
                            if one.slot == slot
                        ],
                    }
                    for slot in core.slot_numbers()
                ],
            }
        return {
            "version": "1.2.3",
            "pid": 4711,
            "started": "2025-01-01T00:00:00+00:00",
            "config": self.config_path,
            "ready": self.ready(),
            "stopping": self.stopping > 0,
            "generation": 1,
            "takeover": None,
            "predecessors": 0,
            "pools": pools,
            "listeners": {
                "public": {"bind": ["127.0.0.1:8443"], "urls": ["https://127.0.0.1:8443/"], "connections": 3}
            },
            "routes": [{"hosts": [], "path": "/", "pool": "web", "files": "", "redirect": ""}],
            "certificates": [
                {
                    "listener": "public",
                    "names": ["example.org"],
                    "expires": "2035-01-01T00:00:00.000Z",
                    "file": "/etc/shop.pem",
                }
            ],
        }

    async def start_takeover(self, _order: TakeoverOrder) -> TakeoverResult:
        """Go as `handed_over` says."""
        self.check()
        if not self.handed_over.done:
            raise TakeoverFailed(self.handed_over)
        return self.handed_over

    def stop(self) -> None:
        """Count it."""
        self.stopping += 1


@dataclass(frozen=True, kw_only=True)
class FakeProxy:
    """A fake runtime with its admin API served.

    Attributes:
        runtime: what it speaks for.
        addresses: where it answers.
        scope: cancel it to end the admin API.
    """

    runtime: FakeRuntime
    addresses: tuple[Address, ...]
    scope: trio.CancelScope

    @property
    def url(self) -> str:
        """The first address as a URL."""
        return f"http://{self.addresses[0]}"


@asynccontextmanager
async def open_fake_proxy(text: str = CONFIGURATION, *, door: AdminDoor | None = None) -> AsyncIterator[FakeProxy]:
    """Serve the admin API of a fake runtime until the block is left, behind a door of the caller's if it has one."""
    async with trio.open_nursery() as nursery:
        runtime = FakeRuntime(nursery, text)
        scope = trio.CancelScope()

        async def serve(*, task_status: trio.TaskStatus[tuple[Address, ...]] = trio.TASK_STATUS_IGNORED) -> None:
            with scope:
                await serve_admin(runtime, door, task_status=task_status)

        addresses = await nursery.start(serve)
        yield FakeProxy(runtime=runtime, addresses=addresses, scope=scope)
        nursery.cancel_scope.cancel()


class Defect(ProxyError):
    """An error nobody foresaw, with a secret in it."""
