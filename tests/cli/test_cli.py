"""The command line and the admin API against a proxy that really runs."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import trio
from pydantic import TypeAdapter

from docs.tools import api_documents as documents
from hotswap.core.rollout.report import RolloutReport
from tests.support.hotswap import Ran, run_hotswap

CONFIGURATION = f"""
[listeners.public]
bind = ["127.0.0.1:0"]

[[routes]]
pool = "web"

[pools.web]
server = "command"
command = ["{sys.executable}", "-m", "faulty.plain", "--boot-seconds", "0.1"]
directory = "{Path(__file__).parents[2]}"
"""


@pytest.mark.fail_after(60)
async def test_a_day_of_an_operator(tmp_path: Path) -> None:
    """Look, replace, take out and bring back, make a mistake, repair it, and stop."""
    async with run_hotswap(CONFIGURATION, tmp_path, stop=False) as hotswap:
        looked = await hotswap.command("status", "--json")
        documents.StatusDocument.model_validate(json.loads(looked.stdout))
        assert "pool web: 2 of 2 slots ready, generation 1" in (await hotswap.command("status")).stdout

        reloaded = await hotswap.command("reload", "--json")
        assert reloaded.code == 0, reloaded.stderr
        (report,) = json.loads(reloaded.stdout)["rollouts"]
        TypeAdapter(RolloutReport).validate_python(report)
        assert (report["outcome"], report["trigger"]) == ("done", "cli")
        assert report["slots"][1]["state"] == "done"

        assert (await hotswap.command("drain", "web", "0")).code == 0
        alone = await hotswap.command("drain", "web", "1")
        assert alone.code == 3, "the last one that can be claimed stays"
        assert (await hotswap.command("readmit", "web", "0")).code == 0

        hotswap.config.write_text(hotswap.config.read_text() + "sizee = 3\n")
        checked = await hotswap.command("check", str(hotswap.config))
        refused = await hotswap.command("reload")
        assert (checked.code, refused.code) == (2, 3)
        assert "refused: config-invalid" in refused.stderr
        assert "pools.web.sizee" in checked.stderr
        assert refused.stderr.count("pools.web.sizee") == 1

        # A replacement that takes so long to boot is not there before the next command.
        hotswap.config.write_text(hotswap.config.read_text().replace("sizee = 3\n", "").replace('"0.1"', '"30"'))
        assert (await hotswap.command("reload", "web", "--no-wait")).code == 0
        running = await hotswap.command("reload", "web")
        assert (running.code, "refused: rollout-in-progress" in running.stderr) == (3, True)

        stopped = await hotswap.command("stop")
        assert stopped.code == 0
        assert stopped.stderr.endswith(" is gone\n")
        assert await hotswap.process.wait() == 0
        gone = await hotswap.command("status")
        assert gone.code == 1


@pytest.mark.fail_after(60)
async def test_requests_are_held_while_a_pool_is_paused_and_served_afterwards(tmp_path: Path) -> None:
    """Each of them, and the status says how many wait."""
    async with run_hotswap(CONFIGURATION, tmp_path) as hotswap:
        assert (await hotswap.command("pause", "web")).stderr == "pool web: requests are held\n"
        answers: list[int] = []

        async def ask() -> None:
            answers.append((await hotswap.fetch("/")).status)

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(ask)
            while (await hotswap.pool())["held"] < 3:
                await trio.sleep(0.02)
            assert answers == []
            assert "3 requests held, PAUSED" in (await hotswap.command("status")).stdout
            assert (await hotswap.command("resume", "web")).stderr == "pool web: requests go on\n"
        assert answers == [200, 200, 200]
        assert (await hotswap.command("resume", "web")).stderr == "pool web: was not paused\n"


@pytest.mark.fail_after(60)
async def test_an_abort_ends_a_rollout_and_whoever_waits_for_it(tmp_path: Path) -> None:
    """Exit code 4 for the one who wanted the new code; the old one serves, and the pool is not locked."""
    async with run_hotswap(CONFIGURATION, tmp_path) as hotswap:
        # The new release never gets ready, so there is time.
        text = hotswap.config.read_text()
        hotswap.config.write_text(text.replace('"0.1"', '"30"'))
        waited: list[Ran] = []

        async def wait() -> None:
            waited.append(await hotswap.command("reload", "web"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            while not (await hotswap.pool())["rollout"]:
                await trio.sleep(0.02)
            aborted = await hotswap.command("abort", "web")
            assert (aborted.code, "ends as soon as no slot is half-way" in aborted.stderr) == (0, True)
        assert waited[0].code == 4
        assert (
            "rollout r1 of pool web aborted: ended by an operator before every slot was replaced\n" in waited[0].stderr
        )
        pool = await hotswap.pool()
        assert (pool["locked"], pool["rollout"]) == (None, None)
        assert (await hotswap.fetch("/")).status == 200
        assert (await hotswap.command("abort", "web")).stderr == "pool web: no rollout is in progress\n"


@pytest.mark.fail_after(60)
async def test_a_rollout_that_fails_leaves_a_pool_that_can_be_repaired(tmp_path: Path) -> None:
    """Exit code 4 with the last lines, then `unlock`."""
    new_code = tmp_path / "new_code.py"
    new_code.write_text("from faulty.plain import main\nmain()\n")
    config = CONFIGURATION.replace('"-m", "faulty.plain", "--boot-seconds", "0.1"', f'"{new_code}"')
    async with run_hotswap(config, tmp_path) as hotswap:
        new_code.write_text("import sys\nsys.exit('the catalogue \\x1b[31mis empty')\n")
        failed = await hotswap.command("reload")
        assert failed.code == 4
        assert r"  the catalogue \x1b[31mis empty" in failed.stderr
        assert "hotswap unlock web" in failed.stderr
        assert "LOCKED" in (await hotswap.command("status")).stdout
        locked = await hotswap.command("reload")
        assert (locked.code, "refused: pool-locked" in locked.stderr) == (3, True)
        new_code.write_text("from faulty.plain import main\nmain()\n")
        assert (await hotswap.command("unlock", "web")).code == 0
        assert (await hotswap.command("reload")).code == 0
