"""The promise: every backend is replaced again and again under load, and no client of any kind notices."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.certificates import issue_certificate
from tests.support.hotswap import Hotswap, run_hotswap
from tests.support.load import run_load
from tests.support.pools import demo_pool, listeners

BOOT_SECONDS = 1.0
"""How long a backend of these tests takes to boot, on top of its interpreter."""

MARGIN = 0.25
"""Seconds by which a request may be slower during rollouts than the slowest of its kind before them."""

REQUESTS_PER_CONNECTION = 1000
"""After so many the proxy ends a connection, announced, whatever happens behind it."""


async def roll(hotswap: Hotswap, times: int) -> None:
    """Replace every backend so many times in a row; every rollout must end well and cut nothing."""
    for _ in range(times):
        rollout = await hotswap.rollout()
        assert rollout["outcome"] == "done", rollout
        assert [slot["exchanges"]["cut"] for slot in rollout["slots"]] == [0, 0], rollout


@pytest.mark.fail_after(180)
@pytest.mark.parametrize(
    ("strategy", "rollouts", "margin"),
    [
        pytest.param("surge", 10, MARGIN, marks=pytest.mark.timed),
        pytest.param("drain-first", 10, MARGIN, marks=pytest.mark.timed),
        # Here one backend serves alone for as long as the other boots; that it is slower then is no defect.
        ("stop-first", 2, 5.0),
    ],
)
async def test_rollouts_in_a_row_cost_no_client_anything(tmp_path: Path, strategy: str, rollouts: int, margin: float):
    """Every kind of client, over TLS and plain: each count of failures is 0, each POST is recorded exactly once."""
    certificates = issue_certificate(tmp_path)
    config = listeners(certificates) + demo_pool(tmp_path, boot_seconds=BOOT_SECONDS, strategy=strategy)
    async with run_hotswap(config, tmp_path) as hotswap:
        targets = {
            "plain": await hotswap.target("public"),
            "tls": await hotswap.target("secure", tls=certificates.trusting),
        }
        async with run_load(targets, processes=[hotswap.pid], rest=0) as load:
            await load.wait_turns(1)
            steady = (load.now(), await load.after_turns(4))
            await roll(hotswap, rollouts)
            await load.wait_turns(1)
        load.assert_unharmed()
        load.assert_ledger(tmp_path / "notes.sqlite3")
        load.assert_not_slower(steady=steady, margin=margin)

        generations = set(range(1, rollouts + 2))
        for kind, count in load.counts.items():
            assert count.ended == 0, f"an idle connection was closed unannounced: {count}"
            if "fresh" not in kind and "websocket" not in kind:
                allowed = 1 + count.done // REQUESTS_PER_CONNECTION
                assert count.connections <= allowed, f"a client's connection did not outlive the backends: {count}"
            if "get" in kind:
                assert count.generations == generations, f"a generation served nobody: {count.generations}"
        assert (await hotswap.pool())["generation"] == rollouts + 1
        closed = [line for line in hotswap.lines if "demo: database closed" in line]
        assert len(closed) == 2 * rollouts
