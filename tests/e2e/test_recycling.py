"""Backends that are replaced for what they have served, under load: no client notices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_presets import kinds, write_shop
from tests.support.hotswap import run_hotswap
from tests.support.load import run_load

CONFIGURATION = """
[listeners.public]
bind = ["127.0.0.1:0"]
[[routes]]
pool = "shop"
[pools.shop]
server = "uvicorn"
app = "shop.asgi:app"
size = {size}
recycle = {{ requests = 60 }}
rollout = {{ strategy = "{strategy}" }}
"""


@pytest.mark.fail_after(90)
@pytest.mark.parametrize(("size", "strategy"), [(2, "drain-first"), (1, "surge")])
async def test_recycling_under_load_costs_nothing(tmp_path: Path, size: int, strategy: str):
    """Every kind of client; each slot at least once, never two at a time, and the generation stays."""
    interface = write_shop(tmp_path, "uvicorn")
    ledger = tmp_path / "ledger.sqlite3"
    text = CONFIGURATION.format(size=size, strategy=strategy)
    async with run_hotswap(text, tmp_path, environment={"LEDGER": str(ledger)}) as hotswap:

        def records(*events: str) -> list[dict[str, Any]]:
            return [record for record in hotswap.records() if record["event"] in events]

        before = {backend["pid"] for backend in await hotswap.backends("shop")}
        async with run_load({"plain": await hotswap.target()}, kinds=kinds(interface)) as load:
            while (
                len({record["slot"] for record in records("backend.recycled")}) < size
                or len(records("backend.recycled")) < 2
            ):
                await hotswap.wait_more()
            await load.wait_turns(1)
            while before - {record["pid"] for record in records("backend.exited")}:
                await hotswap.wait_more()  # the last of them finishes what it had in flight
        told = [record["event"] for record in records("backend.recycling", "backend.recycled")]
        assert told[:4] == ["backend.recycling", "backend.recycled"] * 2
        assert all(record["reason"] == "requests" for record in records("backend.recycling"))
        assert not records("backend.crashed", "backend.killed", "backend.drain_timed_out", "backend.recycle_failed")
        after = await hotswap.backends("shop")
        assert not before & {backend["pid"] for backend in after}
        assert {backend["generation"] for backend in after} == {1}
        metrics = await hotswap.admin.metrics()
        started = next(line for line in metrics.splitlines() if 'reason="recycle"' in line)
        assert float(started.split()[-1]) >= 2
        assert all(isinstance(backend["served"], int) for backend in after)
    load.assert_unharmed()
    load.assert_ledger(ledger)
