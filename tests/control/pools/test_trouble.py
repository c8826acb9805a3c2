"""Why a slot is not well: what is counted, and until when."""

from __future__ import annotations

from pathlib import Path

from hotswap.control.pools.release import Release
from hotswap.control.pools.slot import Slot
from hotswap.control.pools.trouble import describe_trouble
from hotswap.core.address import UnixAddress
from hotswap.core.backoff import Backoff
from hotswap.core.pool.last_error import LastError
from hotswap.core.pool.lifecycle import BackendState, Health
from hotswap.core.pool.pool import Pool
from hotswap.core.strategy import Balance
from hotswap.processes.presets import recipe
from tests.support.pool_stage import supervised_table

WELL = {"last_error": None, "exit": None, "attempts": 0, "next_try": None}


def test_attempts_are_counted_until_a_backend_is_ready_whatever_generation_they_were_of(tmp_path: Path) -> None:
    """What crashed after it was ready is counted with what never was; a rollout that fails starts no new count."""
    core = Pool(name="web", balance=Balance.LEAST_IN_FLIGHT, size=1, supervised=True)
    table = supervised_table(tmp_path)
    release = Release(table=table, directory="/srv/1", environment={}, recipe=recipe(table), compatibility=None)
    slot = Slot(number=0, generation=1, release=release)
    assert describe_trouble(core, 0, slot) == WELL
    slot.backoff = Backoff(crashes=7)
    core.note_error(0, LastError(text="exited with status 1", exit="exit code 1"))
    assert describe_trouble(core, 0, slot) == {
        "last_error": "exited with status 1",
        "exit": "exit code 1",
        "attempts": 7,
        "next_try": None,
    }
    new = core.add(slot=0, generation=2, address=UnixAddress("/run/new.sock"), now=0.0)
    core.move(new, BackendState.FAILED, now=1.0)
    assert describe_trouble(core, 0, slot)["attempts"] == 7
    good = core.add(slot=0, generation=3, address=UnixAddress("/run/good.sock"), now=2.0)
    core.move(good, BackendState.READY, now=3.0)
    core.set_health(good, Health.HEALTHY)
    assert describe_trouble(core, 0, slot) == WELL
    # One that lives and fails its checks was not tried in vain.
    core.set_health(good, Health.UNHEALTHY, "status 500")
    assert describe_trouble(core, 0, slot)["attempts"] == 0
    assert describe_trouble(core, 0, None)["last_error"] == "unhealthy: status 500"
