"""Configurations one after the other: pools and addresses come, go, return and change, and nothing in flight pays."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from hotswap.control.pools.pool_set import PoolSet
from hotswap.control.pools.static_pool import StaticPool
from hotswap.control.pools.surroundings import Surroundings
from hotswap.core.config import StaticPoolTable
from hotswap.core.pool.backend import Backend
from hotswap.core.pool.health import ProbeResult
from hotswap.core.pool.pool import Pool
from tests.support.pool_stage import StillPlane, open_pool, open_surroundings, supervised_table

ADDRESSES = ("10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80")
PATIENCE = 60.0
"""Seconds that what is in flight has; no step of a test takes as long."""


class Configured:
    """A set of static pools whose probes all pass, as one configuration after the other wants it."""

    def __init__(self, surroundings: Surroundings, plane: StillPlane, nursery: trio.Nursery, log: Any) -> None:
        self.pools = PoolSet(processors=2, observer=lambda _: None)
        self.surroundings, self.plane, self.nursery, self.log = surroundings, plane, nursery, log
        self.probed: set[str] = set()

    def apply(self, wanted: dict[str, tuple[str, ...]], *, interval: str = "1s") -> None:
        """Take a configuration over: addresses by the name of their pool."""
        tables = {
            name: StaticPoolTable.model_validate(
                {"addresses": addresses, "hold_timeout": f"{PATIENCE:g}s", "health": {"interval": interval}}
            )
            for name, addresses in wanted.items()
        }
        self.pools.apply(tables, {}, self.surroundings, self.nursery)
        self.pools.drop(tables, self.nursery, static_drain_timeout=PATIENCE)

    def core(self, name: str) -> Pool:
        """Give a pool as the data plane sees it."""
        return self.pools[name].core


def in_virtual_time(work: Callable[[Configured], Awaitable[None]]) -> None:
    """Run something with a set of pools, on a clock that jumps over every wait."""

    async def run() -> None:
        plane = StillPlane()
        async with open_surroundings(plane) as (surroundings, log), trio.open_nursery() as nursery:
            configured = Configured(surroundings, plane, nursery, log)

            async def passing(address: object, *_: object, **__: object) -> ProbeResult:
                configured.probed.add(str(address))
                return ProbeResult(ok=True, detail="", status=200)

            object.__setattr__(surroundings, "probe", passing)
            await work(configured)
            assert not [record for record in log if record["event"].endswith("crashed")]
            nursery.cancel_scope.cancel()

    trio.run(run, clock=MockClock(autojump_threshold=0))


_POOLS = st.dictionaries(
    st.sampled_from(["a", "b"]), st.permutations(ADDRESSES).map(tuple) | st.sampled_from([ADDRESSES[:1], ADDRESSES[1:]])
)
_STEPS = st.lists(
    st.tuples(
        _POOLS,
        st.sampled_from(["1s", "2s"]),
        st.sampled_from(["claim", "finish", "drain", "readmit", "wait", "nothing"]),
        st.integers(min_value=0, max_value=2),
    ),
    max_size=8,
)


@given(steps=_STEPS)
def test_whatever_is_configured_in_a_row_every_wanted_address_serves_and_nothing_in_flight_is_cut(steps):
    """Pools removed and put back, addresses that move, leave and return, while exchanges are in flight in them."""

    async def work(configured: Configured) -> None:
        open_: list[tuple[Pool, Backend]] = []
        for wanted, interval, act, number in steps:
            configured.apply(wanted, interval=interval)
            await trio.testing.wait_all_tasks_blocked()
            for name, addresses in wanted.items():
                core, pool = configured.core(name), configured.pools[name]
                assert isinstance(pool, StaticPool)
                staying = [backend for backend in core.backends if backend not in pool.departures]
                assert sorted((backend.slot, str(backend.address)) for backend in staying) == list(
                    enumerate(addresses)
                ), "each address has one backend, in its own slot"
            for name in wanted:
                pool = configured.pools[name]
                match act:
                    case "claim" if (backend := configured.plane.claim_any(pool.core)) is not None:
                        open_.append((pool.core, backend))
                    case "drain" if len(pool.core.ready_slots()) > 1 and number in pool.core.ready_slots():
                        pool.drain_slot(number)
                    case "readmit" if number < pool.core.size:
                        pool.readmit_slot(number)
                    case _:
                        pass
            if act == "finish" and open_:
                configured.plane.finish(open_.pop()[1])
            if act == "wait":
                await trio.sleep(2.5)
            assert configured.plane.cuts == 0
        for _, backend in open_:
            configured.plane.finish(backend)
        last = steps[-1][0] if steps else {}
        await trio.sleep(1)
        configured.probed.clear()
        await trio.sleep(5)
        assert set(configured.pools) == set(last)
        for name, addresses in last.items():
            assert sorted(str(backend.address) for backend in configured.core(name).backends) == sorted(addresses)
        assert configured.probed == {address for addresses in last.values() for address in addresses}
        assert configured.plane.pools.keys() == last.keys()

    in_virtual_time(work)


def test_what_was_not_put_back_in_time_is_cut_and_forgotten():
    """The patience is not endless."""

    async def work(configured: Configured) -> None:
        configured.apply({"a": ADDRESSES})
        await trio.sleep(5)
        core = configured.core("a")
        configured.plane.claim(core, 0)
        configured.apply({})
        await trio.sleep(PATIENCE + 1)
        assert configured.plane.cuts == 1
        assert core.backends == []
        configured.apply({"a": ADDRESSES})
        assert configured.core("a") is not core

    in_virtual_time(work)


def test_a_moved_address_keeps_its_verdict():
    """The first of three goes, and the others, which stand elsewhere now, can be claimed all the time."""

    async def work(configured: Configured) -> None:
        configured.apply({"a": ADDRESSES})
        await trio.sleep(5)
        configured.apply({"a": ADDRESSES[1:]})
        assert configured.core("a").ready_slots() == {0, 1}

    in_virtual_time(work)


async def test_a_pool_that_grows_again_fills_the_slot_that_still_drains(tmp_path):
    """The backend that goes is beside it until its exchange ends, and takes nothing away when it does."""
    table = supervised_table(tmp_path, size=3, drain_timeout="60s")
    async with open_pool(table) as stage:
        busy = stage.plane.claim(stage.pool.core, 2)
        for size in (2, 3):
            rollout = await stage.roll(supervised_table(tmp_path, size=size, drain_timeout="60s"))
            assert rollout.outcome.value == "done"
        await stage.wait_full()
        assert busy in stage.pool.core.backends
        stage.plane.finish(busy)
        await stage.wait(lambda: busy not in stage.pool.core.backends)
        assert stage.ready == {0, 1, 2}
        assert stage.plane.cuts == 0


async def test_under_stop_first_the_slot_is_filled_when_the_one_that_drains_has_gone(tmp_path):
    """There never are two in it."""
    settings: dict[str, Any] = {"drain_timeout": "60s", "rollout": {"strategy": "stop-first"}}
    async with open_pool(supervised_table(tmp_path, size=3, **settings)) as stage:
        busy = stage.plane.claim(stage.pool.core, 2)
        for size in (2, 3):
            await stage.roll(supervised_table(tmp_path, size=size, **settings))
        assert [backend for backend in stage.pool.core.backends if backend.slot == 2] == [busy]
        stage.plane.finish(busy)
        await stage.wait_full()
        assert stage.plane.cuts == 0


async def test_a_supervised_pool_that_was_about_to_end_goes_on(tmp_path):
    """With the same processes where they only drained, and refilled where they were told to go already."""
    async with open_pool(supervised_table(tmp_path, drain_timeout="60s")) as stage, trio.open_nursery() as nursery:
        pool, before = stage.pool, stage.pids()
        busy = stage.plane.claim(pool.core, 0)
        ending = trio.CancelScope()

        async def end() -> None:
            with ending:
                await pool.stop(drain_timeout=60)

        nursery.start_soon(end)
        await stage.wait(lambda: not [backend for backend in pool.core.backends if backend.slot == 1])
        ending.cancel()
        pool.go_on()
        assert stage.pids() == {0: before[0]}
        await stage.wait_full()
        stage.plane.finish(busy)
        assert stage.plane.cuts == 0
        assert stage.pids()[0] == before[0]
