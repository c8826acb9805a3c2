"""Chaos: random operations, faults and takeovers on one proxy under load, and the account of what it cost.

`python -m tests.support.chaos --runs 50` does as many runs, each from a seed of its own that is printed, and ends with
exit code 1 at the first that breaks a promise (`--seed` repeats one). `tests/e2e/test_chaos.py` does a short one.

Two tasks act at the same time: an operator (reload, abort, pause, drain, resize, a broken release, takeover) and an
accident (SIGKILL, SIGTERM, SIGSTOP of a backend). Afterwards everything is put right with verbs that an operator has,
and these must hold: every slot is full, a reload succeeds, no exchange failed that was not inside a backend while that
was killed, no process, socket or descriptor is left behind.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import trio

from tests.support.chain import Chain, run_chain, wait_reaped
from tests.support.client import Response
from tests.support.clients import SHORT_KINDS, Client
from tests.support.hotswap import living
from tests.support.pools import demo_pool, listeners
from tests.support.trouble import Count

SIZES = (2, 3, 4)
"""Slots that the pool has in turn."""
SIZE = 3
"""Slots that it has at the beginning and at the end."""
TURN_TIMEOUT = 45.0
"""Seconds after which an exchange counts as lost: longer than the proxy holds a request for a backend that starts."""
CALL_TIMEOUT = 90.0
"""Seconds that a call of the admin API may take: longer than a rollout whose backends are killed again and again."""
FATAL_SECONDS = 2.0
"""Seconds after a signal during which what is inside the backend may fail: one that stops in order ends that much
later."""
ALLOWED = frozenset({200, 202, 400, 404, 409, 422})
"""What the admin API may answer to an order that chance gives: done, or refused in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """An exchange that failed its client: what kind, when, and how."""

    kind: str
    began: float
    ended: float
    error: str

    def excused(self, wounds: Sequence[float]) -> bool:
        """Whether it was under way when a backend was ended, and is of a kind that must not be sent twice."""
        inside = any(wound - 0.05 <= self.ended and self.began <= wound + FATAL_SECONDS for wound in wounds)
        return "post" in self.kind and inside


@dataclass(slots=True)
class Account:
    """What a run did and saw.

    Attributes:
        acts: how often each act was done, with what came of it.
        wounds: when a backend was ended by the accident; one that stands still for a moment excuses nothing.
        losses: exchanges that failed.
        done: exchanges that were right in every respect.
        pids: every backend that was ever seen.
    """

    acts: Counter[str] = field(default_factory=Counter)
    wounds: list[float] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)
    done: int = 0
    pids: set[int] = field(default_factory=set)

    def unexcused(self) -> list[Loss]:
        """Exchanges that were lost although nothing that killed could have touched them."""
        return [loss for loss in self.losses if not loss.excused(self.wounds)]

    def __str__(self) -> str:
        acts = ", ".join(f"{act} {number}" for act, number in sorted(self.acts.items()))
        return f"{self.done} exchanges, {len(self.losses)} lost inside killed backends; {acts}"


class Chaos:
    """The acts, on one proxy."""

    def __init__(self, chain: Chain, chance: random.Random, account: Account) -> None:
        self.chain = chain
        self.chance = chance
        self.account = account
        self._size = SIZE

    def configuration(self, *, size: int, broken: bool = False) -> str:
        """The configuration with so many slots, and an app that is there or not."""
        return configuration(self.chain.directory, size=size, broken=broken)

    async def call(self, act: str, path: str) -> Response:
        """Give an order, whose answer must be one of those that an order may have."""
        with trio.fail_after(CALL_TIMEOUT):
            response = await self.chain.hotswap.admin.call("POST", path)
        assert response.status in ALLOWED, (act, response.status, response.body)
        outcome = "done" if response.status < 300 else response.json().get("code", str(response.status))
        self.account.acts[f"{act}: {outcome}"] += 1
        return response

    # The operator

    async def reload(self) -> None:
        """Roll the pool and wait for the end."""
        await self.call("reload", "/v1/pools/web/reload?wait=true")

    async def reload_and_abort(self) -> None:
        """Roll the pool and change one's mind."""
        await self.call("reload", "/v1/pools/web/reload")
        await trio.sleep(self.chance.uniform(0, 1.0))
        await self.call("abort", "/v1/pools/web/abort")

    async def unlock(self) -> None:
        """Unlock the pool, locked or not."""
        await self.call("unlock", "/v1/pools/web/unlock")

    async def pause_and_resume(self) -> None:
        """Hold all requests for a moment."""
        await self.call("pause", "/v1/pools/web/pause")
        await trio.sleep(self.chance.uniform(0, 0.5))
        await self.call("resume", "/v1/pools/web/resume")

    async def drain_and_readmit(self) -> None:
        """Take a slot out where another one serves, and give it back."""
        if len(await self.serving()) < 2:
            return
        slot = self.chance.randrange(2)
        await self.call("drain", f"/v1/pools/web/slots/{slot}/drain")
        await trio.sleep(self.chance.uniform(0, 0.5))
        await self.call("readmit", f"/v1/pools/web/slots/{slot}/readmit")

    async def resize(self) -> None:
        """Another number of slots."""
        self._size = self.chance.choice(SIZES)
        self.chain.hotswap.configure(self.configuration(size=self._size))
        await self.call("resize", "/v1/config/reload")

    async def broken_release(self) -> None:
        """Roll out an app that does not start, then the one before, and unlock."""
        self.chain.hotswap.configure(self.configuration(size=self._size, broken=True))
        await self.call("broken reload", "/v1/pools/web/reload?wait=true")
        self.chain.hotswap.configure(self.configuration(size=self._size))
        await self.call("unlock", "/v1/pools/web/unlock")

    async def take_over(self) -> None:
        """Replace the proxy itself."""
        with trio.fail_after(CALL_TIMEOUT):
            response = await self.chain.order()
        assert response.status in ALLOWED, (response.status, response.body)
        outcome = "done" if response.status == 200 else response.json()["code"]
        self.account.acts[f"takeover: {outcome}"] += 1

    async def operate(self) -> None:
        """One act, by chance."""
        acts: Sequence[Callable[[], Awaitable[None]]] = (
            self.reload,
            self.reload,
            self.reload_and_abort,
            self.unlock,
            self.pause_and_resume,
            self.drain_and_readmit,
            self.resize,
            self.broken_release,
            self.take_over,
            self.take_over,
        )
        await self.chance.choice(acts)()

    # The accident

    async def serving(self) -> list[dict[str, Any]]:
        """The backends that can be claimed."""
        backends = await self.chain.hotswap.backends()
        self.account.pids.update(one["pid"] for one in backends)
        return [
            one
            for one in backends
            if one["state"] == "ready" and one["health"] == "healthy" and not one.get("drained", False)
        ]

    async def strike(self) -> None:
        """Signal one backend, where another one can serve meanwhile."""
        serving = await self.serving()
        if len(serving) < 2:
            return
        victim = self.chance.choice(serving)["pid"]
        number = self.chance.choice((signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP))
        self.account.acts[number.name] += 1
        with suppress(ProcessLookupError):
            os.kill(victim, number)
            if number == signal.SIGSTOP:
                await trio.sleep(self.chance.uniform(0.1, 1.0))
                os.kill(victim, signal.SIGCONT)
            else:
                self.account.wounds.append(trio.current_time())

    # The end

    async def heal(self) -> None:
        """Put everything right, as an operator would, and see that it is."""
        self.chain.hotswap.configure(self.configuration(size=SIZE))
        await self.call("resume", "/v1/pools/web/resume")
        for slot in range(max(SIZES)):
            await self.call("readmit", f"/v1/pools/web/slots/{slot}/readmit")
        await self.call("unlock", "/v1/pools/web/unlock")
        with trio.fail_after(CALL_TIMEOUT):
            while (await self.call("last resize", "/v1/config/reload")).status == 409:
                # A rollout that nobody waited for is still at it.
                await trio.sleep(0.2)
            await self.chain.hotswap.wait_until(self._full)
            await self.chain.wait_alone()
        response = await self.call("last reload", "/v1/pools/web/reload?wait=true")
        report = response.json()
        assert report.get("outcome") == "done", report
        assert await self._full(), await self.chain.hotswap.status()

    async def _full(self) -> bool:
        pool = await self.chain.hotswap.pool()
        return len(pool["slots"]) == SIZE and len(await self.serving()) == SIZE and pool["rollout"] is None


def configuration(directory: Path, *, size: int, broken: bool = False) -> str:
    """A pool that is watched closely and starts soon again."""
    return listeners() + demo_pool(
        directory,
        app="demo:nothing" if broken else "demo:app",
        size=size,
        start_timeout="10s",
        drain_timeout="5s",
        stop_timeout="3s",
        recycle={"requests": 40},
        health={"interval": "200ms", "timeout": "5s"},
    )


async def _loop(client: Client, account: Account, stopping: trio.Event) -> None:
    while not stopping.is_set():
        began = trio.current_time()
        try:
            with trio.fail_after(TURN_TIMEOUT):
                await client.turn()
        except Exception as error:
            ended = trio.current_time()
            account.losses.append(
                Loss(kind=client.kind, began=began, ended=ended, error=f"{type(error).__name__}: {error}")
            )
            client.abandon()
        else:
            account.done += 1
        with trio.move_on_after(client.pace):
            await stopping.wait()
    await client.leave()


async def run_chaos(directory: Path, *, seed: int, acts: int) -> Account:
    """Do so many acts of the operator, with accidents beside them, and check what must hold.

    Raises:
        AssertionError: a promise was broken; its message says which.
    """
    account = Account()
    chance = random.Random(seed)
    async with run_chain(configuration(directory, size=SIZE), directory) as chain:
        chaos = Chaos(chain, chance, account)
        target = await chain.hotswap.target()
        counts = [Count(kind.kind) for kind in SHORT_KINDS]
        stopping, quiet = trio.Event(), trio.Event()
        struck = trio.Event()

        async def strike() -> None:
            while not quiet.is_set():
                with trio.move_on_after(chance.uniform(0.2, 1.5)):
                    await quiet.wait()
                with suppress(OSError, trio.BrokenResourceError):  # a takeover has just moved the admin API
                    await chaos.strike()
            struck.set()

        async with trio.open_nursery() as nursery:
            for kind, count in zip(SHORT_KINDS, counts, strict=True):
                nursery.start_soon(_loop, kind(target, count, name=kind.__name__), account, stopping)
            nursery.start_soon(strike)
            for _ in range(acts):
                await chaos.operate()
            quiet.set()
            await struck.wait()
            await chaos.heal()
            stopping.set()
        lost = account.unexcused()
        assert not lost, f"seed {seed}: {len(lost)} lost: {lost[:5]}; wounds {account.wounds}"
        _check_ledger(directory / "notes.sqlite3", counts)
        serving = await chain.serving()
        await wait_reaped(serving)
    left = living(account.pids)
    assert not left, f"seed {seed}: backends outlived the proxy: {left}"
    sockets = _sockets(directory)
    assert not sockets, f"seed {seed}: sockets left behind: {sockets}"
    return account


def _sockets(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_socket()]


def _check_ledger(database: Path, counts: Sequence[Count]) -> None:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        entries = dict(connection.execute("SELECT id, count FROM ledger"))
    doubled = {identity: count for identity, count in entries.items() if count != 1}
    assert not doubled, f"recorded more than once: {doubled}"
    missing = {identity for count in counts for identity in count.acknowledged} - entries.keys()
    assert not missing, f"acknowledged and lost: {missing}"


def main() -> None:
    """Do the runs that the command line asks for."""
    parser = argparse.ArgumentParser(description="random operations, faults and takeovers under load")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--acts", type=int, default=12, help="acts of the operator in each run")
    parser.add_argument("--seed", type=int, default=1, help="of the first run; the others count on from it")
    options = parser.parse_args()
    for seed in range(options.seed, options.seed + options.runs):
        with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
            try:
                account = trio.run(partial(run_chaos, Path(folder), seed=seed, acts=options.acts))
            except BaseException:
                print(f"seed {seed}: broken", flush=True)
                raise
        print(f"seed {seed}: {account}", flush=True)


if __name__ == "__main__":
    main()
