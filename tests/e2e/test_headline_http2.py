"""The promise to clients of HTTP/2: every backend is replaced under load, and no stream of any of them notices."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.certificates import issue_certificate
from tests.support.client_http2 import http2_target
from tests.support.clients_http2 import HTTP2_KINDS
from tests.support.hotswap import run_hotswap
from tests.support.load import run_load
from tests.support.pools import demo_pool, listeners

ROLLOUTS = ("surge", "drain-first", "stop-first", "drain-first", "surge")
"""Strategies, one rollout each."""


@pytest.mark.fail_after(120)
async def test_rollouts_in_a_row_cost_no_stream_anything(tmp_path: Path):
    """By ALPN and by prior knowledge, in long streams and short ones: each count of failures is 0, and no connection
    is told to go away or has to be made anew because of a backend."""
    certificates = issue_certificate(tmp_path)

    def configuration(strategy: str) -> str:
        return listeners(certificates, http2=True) + demo_pool(tmp_path, boot_seconds=0.3, strategy=strategy)

    async with run_hotswap(configuration("surge"), tmp_path) as hotswap:
        targets = {
            "plain": http2_target(await hotswap.target("public")),
            "tls": http2_target(
                await hotswap.target("secure", tls=certificates.trusting), trust=certificates.authority
            ),
        }
        async with run_load(targets, kinds=HTTP2_KINDS, processes=[hotswap.pid]) as load:
            await load.wait_turns(1)
            for strategy in ROLLOUTS:
                hotswap.configure(configuration(strategy))
                rollout = await hotswap.rollout()
                assert rollout["outcome"] == "done", rollout
                assert rollout["strategy"] == strategy
                assert [slot["exchanges"]["cut"] for slot in rollout["slots"]] == [0, 0], rollout
            await load.wait_turns(1)
        load.assert_unharmed()
        load.assert_ledger(tmp_path / "notes.sqlite3")
        for kind, count in load.counts.items():
            assert (count.ended, count.announced) == (0, 0), f"a connection was told to go away: {count}"
            if "fresh" not in kind:
                assert count.connections == 1, f"a client's connection did not outlive the backends: {count}"
            if kind.endswith("keep-alive get"):
                assert count.generations == set(range(1, len(ROLLOUTS) + 2)), count.generations
