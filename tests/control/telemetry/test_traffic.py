"""The last minutes of traffic: differences of counts, kept for a while."""

from __future__ import annotations

import structlog
import trio
import trio.testing

from hotswap.control.telemetry.traffic import KEPT, TrafficRecorder
from hotswap.core.pool.traffic import BUCKETS, Served
from tests.support.clients import SHORT_KINDS
from tests.support.hotswap import run_hotswap
from tests.support.load import run_load
from tests.support.pools import demo_pool, listeners


def recorder() -> tuple[TrafficRecorder, dict[str, Served]]:
    """A recorder and the counts it looks at."""
    served = {"web": Served()}

    def over(pool: str, generation: int) -> None:
        del served[pool][generation]

    return TrafficRecorder(lambda: served, over), served


def counts_of(recorder: TrafficRecorder, after: int = 0) -> dict[str, list[tuple[int, int, int]]]:
    """Tick, requests and errors of each generation and of the pool."""
    pools = recorder.tell(after)["pools"]
    assert isinstance(pools, dict)
    web = pools["web"]
    return {
        key: [tuple(row[:3]) for row in rows] for key, rows in {"all": web["samples"], **web["generations"]}.items()
    }


def test_a_sample_is_what_was_served_since_the_one_before() -> None:
    """By generation, and of all of them together."""
    traffic, served = recorder()
    served["web"][1][3] += 5
    traffic.take()
    served["web"][1][3] += 2
    served["web"][2][BUCKETS + 3] += 1
    traffic.take()
    traffic.take()
    assert counts_of(traffic) == {"all": [(1, 5, 0), (2, 3, 1)], "1": [(1, 5, 0), (2, 2, 0)], "2": [(2, 1, 1)]}
    assert counts_of(traffic, after=1) == {"all": [(2, 3, 1)], "1": [(2, 2, 0)], "2": [(2, 1, 1)]}


def test_what_is_old_is_forgotten_and_so_is_a_generation_that_serves_no_more() -> None:
    """An idle proxy keeps nothing, and a hundred rollouts leave no hundred lists."""
    traffic, served = recorder()
    for generation in range(1, 6):
        served["web"][generation][0] += 1
    traffic.take()
    for _ in range(KEPT + 1):
        traffic.take()
    assert counts_of(traffic) == {"all": []}
    assert served == {"web": {}}


def test_a_pool_that_is_made_anew_counts_from_nothing() -> None:
    """Its counts are smaller than before, and are what was served since."""
    traffic, served = recorder()
    served["web"][1][0] += 10
    traffic.take()
    served["web"] = Served()
    served["web"][1][0] += 4
    traffic.take()
    assert counts_of(traffic)["all"] == [(1, 10, 0), (2, 4, 0)]
    del served["web"]
    traffic.take()
    assert traffic.tell()["pools"] == {}


async def test_a_defect_while_counting_ends_neither_the_record_nor_the_proxy(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """It is logged, and the next second is another."""
    broken = True

    def served() -> dict[str, Served]:
        if broken:
            raise ZeroDivisionError
        return {}

    traffic = TrafficRecorder(served, lambda *_: None)
    with structlog.testing.capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(traffic.serve, structlog.get_logger())
            await trio.sleep(2.5)
            broken = False
            await trio.sleep(2)
            nursery.cancel_scope.cancel()
    assert [entry["event"] for entry in logs] == ["traffic.crashed"] * 2
    assert traffic.tick == 4


async def test_each_generation_of_a_real_pool_is_counted_while_it_is_replaced(tmp_path) -> None:
    """Both serve during the rollout, and together they are the pool."""
    async with run_hotswap(listeners() + demo_pool(tmp_path), tmp_path) as hotswap:
        async with run_load({"plain": await hotswap.target()}, kinds=SHORT_KINDS) as load:
            await load.wait_turns(5)
            await hotswap.rollout()
            await load.wait_turns(5)

        async def both_counted() -> bool:
            web = (await hotswap.admin.get("/v1/traffic"))["pools"]["web"]
            totals = {key: sum(row[1] for row in rows) for key, rows in web["generations"].items()}
            return {"1", "2"} <= set(totals) and sum(row[1] for row in web["samples"]) == sum(totals.values())

        await hotswap.wait_until(both_counted)
