"""A rollout that fails half-way under load, in a pool with on_failure = "rollback"."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.clients import SHORT_KINDS
from tests.support.hotswap import run_hotswap
from tests.support.load import run_load
from tests.support.pools import demo_pool, listeners
from tests.support.releases import GOOD, Releases


def starts_once(mark: Path) -> str:
    """A release whose first backend is good, and whose second does not start."""
    return f"""
import sys
try:
    open({str(mark)!r}, "x").close()
except FileExistsError:
    sys.exit("the licence allows one process")
{GOOD}"""


@pytest.mark.fail_after(60)
@pytest.mark.parametrize("strategy", ["drain-first", "surge"])
async def test_what_was_replaced_returns_to_the_release_before(tmp_path: Path, strategy: str):
    """No client notices; the pool is not locked, the report shows the way back, and the next deploy works."""
    releases = Releases(tmp_path)
    first = releases.deploy()
    rollout = {"strategy": strategy, "on_failure": "rollback"}
    config = listeners() + demo_pool(tmp_path, app="shop:app", directory=releases.current, rollout=rollout)
    async with run_hotswap(config, tmp_path) as hotswap:
        async with run_load({"plain": await hotswap.target()}, kinds=SHORT_KINDS) as load:
            await load.wait_turns(2)
            second = releases.deploy(starts_once(tmp_path / "mark"))
            failed = await hotswap.command("reload", "web")
            await load.wait_turns(3)
            found = await hotswap.backends()
            (report,) = (await hotswap.admin.get("/v1/rollouts"))["rollouts"]
            third = releases.deploy()
            done = await hotswap.rollout()
            await load.wait_turns(3)
        load.assert_unharmed()
        load.assert_ledger(tmp_path / "notes.sqlite3")

        assert failed.code == 4, failed
        assert "the licence allows one process" in failed.stdout + failed.stderr
        assert (report["outcome"], report["rolled_back"], report["locked"]) == ("failed", True, False)
        turns = [(turn["state"], turn["rollback"]) for turn in report["slots"]]
        assert turns == [("done", False), ("failed", False), ("done", True)]
        assert report["slots"][0]["slot"] == report["slots"][2]["slot"] != report["slots"][1]["slot"]
        assert {Path(backend["release"]).name for backend in found} == {first}
        assert done["outcome"] == "done"
        assert {Path(backend["release"]).name for backend in await hotswap.backends()} == {third}
        # The second release served meanwhile: there was something to take back.
        starts = [record for record in hotswap.records() if record.get("event") == "backend.starting"]
        assert [record["reason"] for record in starts] == ["boot"] * 2 + ["rollout"] * 2 + ["rollback"] + [
            "rollout"
        ] * 2
        assert [Path(record["directory"]).name for record in starts if record["generation"] == 2] == [second, second]
