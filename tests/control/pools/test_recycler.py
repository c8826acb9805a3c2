"""Backends that have reached a limit of `recycle`, with real processes: replaced one at a time, or left as they are."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path

import pytest
import trio

from hotswap.control.pools import recycler
from hotswap.core.config import SupervisedPoolTable
from hotswap.core.errors import Refused
from hotswap.core.pool.backend import Backend
from hotswap.core.pool.lifecycle import BackendState, Health
from hotswap.core.strategy import Strategy
from tests.support.hotswap import SOURCES, wait_gone
from tests.support.pool_stage import Stage, open_pool, supervised_table

APP = """
import runpy, time
time.sleep({boot})
runpy.run_module("faulty.plain", run_name="__main__", alter_sys=True)
"""


def write_app(directory: Path, *, boot: float = 0.0) -> None:
    """Write the app of a pool, which takes so many seconds to boot."""
    (directory / "shop.py").write_text(APP.format(boot=boot))


def recycled_table(directory: Path, **settings: object) -> SupervisedPoolTable:
    """A pool of that app whose backends are replaced after three exchanges."""
    environment = {"PYTHONPATH": f"{SOURCES}:{directory}"}
    return supervised_table(directory, "shop", **{"environment": environment, "recycle": {"requests": 3}, **settings})


def use_up(stage: Stage, slot: int) -> None:
    """Have the backend of a slot serve as much as it may."""
    for _ in range(3):
        stage.plane.finish(stage.plane.claim(stage.pool.core, slot))


def seen(stage: Stage, kind: str) -> bool:
    """Whether there was an event of a kind."""
    return kind in stage.kinds()


def ended(stage: Stage, number: int) -> bool:
    """Whether the pool knows that so many backends have ended."""
    return stage.kinds().count("backend.exited") == number


@pytest.mark.fail_after(30)
@pytest.mark.parametrize("strategy", list(Strategy))
async def test_a_backend_that_has_served_enough_is_replaced(tmp_path: Path, strategy: Strategy):
    """By one of the same generation and release; the other slot is not touched, and nothing is in rotation twice."""
    write_app(tmp_path)
    async with open_pool(recycled_table(tmp_path, rollout={"strategy": strategy})) as stage:
        before = stage.pids()
        use_up(stage, 0)
        await stage.wait(lambda: stage.pids().get(0, before[0]) != before[0])
        pid = before[0]
        assert pid is not None
        await wait_gone(pid)
        await stage.wait(lambda: len(stage.pool.core.backends) == 2)
        assert stage.pids()[1] == before[1]
        assert [backend.generation for backend in stage.pool.core.backends] == [1, 1]
        assert stage.surroundings.tally.backend_starts == {("web", "boot"): 2, ("web", "recycle"): 1}
        assert stage.surroundings.tally.backend_exits == {("web", "stopped"): 1}
        (record,) = stage.logged("backend.recycling")
        assert (record["slot"], record["reason"], record["served"]) == (0, "requests", 3)
        assert stage.ready == {0, 1}


@pytest.mark.fail_after(30)
async def test_the_replacement_runs_the_release_of_its_slot(tmp_path: Path):
    """A link that moved on since brings no new code in: that is for a deploy to do."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_app(tmp_path / name)
    (tmp_path / "current").symlink_to("one")
    async with open_pool(recycled_table(tmp_path / "current")) as stage:
        (tmp_path / "current").unlink()
        (tmp_path / "current").symlink_to("two")
        before = stage.pids()
        use_up(stage, 1)
        await stage.wait(lambda: seen(stage, "backend.recycled"))
        await stage.wait(lambda: len(stage.pool.core.backends) == 2)
        assert stage.pids()[1] != before[1]
        assert os.readlink(f"/proc/{stage.pids()[1]}/cwd") == str(tmp_path / "one")


@pytest.mark.fail_after(30)
async def test_what_is_in_flight_is_not_cut(tmp_path: Path):
    """The replacement serves, and the old backend goes when its last exchange has ended."""
    write_app(tmp_path)
    async with open_pool(recycled_table(tmp_path)) as stage:
        before = stage.pids()
        use_up(stage, 0)
        slow = stage.plane.claim(stage.pool.core, 0)
        await stage.wait(lambda: stage.pids().get(0, before[0]) != before[0])
        assert slow.state is BackendState.DRAINING
        assert stage.plane.in_flight(slow) == 1
        stage.plane.finish(slow)
        await stage.wait(lambda: len(stage.pool.core.backends) == 2)
        assert stage.plane.cuts == 0


@pytest.mark.fail_after(30)
async def test_a_replacement_that_does_not_become_ready_leaves_the_old_backend(tmp_path: Path):
    """Nothing is locked, no start of the slot counts as failed, and it is tried again later."""
    write_app(tmp_path)
    async with open_pool(recycled_table(tmp_path)) as stage:
        before = stage.pids()
        (tmp_path / "shop.py").unlink()
        use_up(stage, 1)
        await stage.wait(lambda: seen(stage, "backend.recycle_failed"))
        assert stage.pids() == before
        assert stage.pool.core.locked is None
        assert stage.pool.core.failed_starts(1) == 0
        (record,) = stage.logged("backend.recycle_failed")
        assert record["again_after"] > 0
        assert "No module named shop" in str(record["output"])
        assert stage.pool.settled


@pytest.mark.fail_after(30)
async def test_a_rollout_that_begins_breaks_a_replacement_off(tmp_path: Path):
    """A deploy is not kept waiting, and replaces every slot once."""
    write_app(tmp_path)
    async with open_pool(recycled_table(tmp_path)) as stage:
        write_app(tmp_path, boot=20)
        use_up(stage, 0)
        await stage.wait(lambda: stage.surroundings.tally.backend_starts["web", "recycle"] == 1)
        write_app(tmp_path)
        rollout = await stage.roll()
        assert rollout.outcome == "done"
        assert [slot.new_generation for slot in rollout.report(0.0).slots] == [2, 2]
        await stage.wait(lambda: len(stage.pool.core.backends) == 2)
        assert not seen(stage, "backend.recycled")
        assert stage.surroundings.tally.backend_exits["web", "discarded"] == 1


@pytest.mark.fail_after(30)
async def test_an_operator_who_drains_another_slot_breaks_a_replacement_off(tmp_path: Path):
    """So that the drained one is not the last that serves."""
    write_app(tmp_path)
    async with open_pool(recycled_table(tmp_path)) as stage:
        before = stage.pids()
        write_app(tmp_path, boot=20)
        use_up(stage, 0)
        await stage.wait(lambda: stage.surroundings.tally.backend_starts["web", "recycle"] == 1)
        assert stage.ready == {1}
        stage.pool.drain_slot(1)
        assert [backend.pid for backend in stage.pool.core.backends if backend.claimable] == [before[0]]
        with pytest.raises(Refused, match="no other backend"):
            stage.pool.drain_slot(0)


def make_ill(stage: Stage, slot: int) -> Backend:
    """Have the backend of a slot fail its probes."""
    backend = next(one for one in stage.pool.core.backends if one.slot == slot)
    stage.pool.entries.set_health(backend, Health.UNHEALTHY, "503")
    return backend


async def begin_replacing(stage: Stage, directory: Path) -> None:
    """Have the backend of slot 0 drain while its replacement boots, which takes a long time."""
    write_app(directory, boot=20)
    use_up(stage, 0)
    await stage.wait(lambda: stage.surroundings.tally.backend_starts.get(("web", "recycle")) == 1)
    assert stage.ready == {1}


@pytest.mark.fail_after(30)
async def test_a_backend_that_fails_its_probes_breaks_a_replacement_off(tmp_path: Path):
    """As one that dies does."""
    write_app(tmp_path)
    async with open_pool(recycled_table(tmp_path)) as stage:
        await begin_replacing(stage, tmp_path)
        make_ill(stage, 1)
        assert stage.ready == {0}


@pytest.mark.fail_after(30)
async def test_a_pause_breaks_a_replacement_off(tmp_path: Path):
    """What an operator looks at meanwhile stands still."""
    write_app(tmp_path)
    async with open_pool(recycled_table(tmp_path)) as stage:
        await begin_replacing(stage, tmp_path)
        stage.pool.entries.pause()
        assert stage.ready == {0, 1}


@pytest.mark.fail_after(30)
async def test_the_death_of_another_backend_breaks_a_replacement_off(tmp_path: Path):
    """The one that was about to go is needed, and it is back in the same instant."""
    write_app(tmp_path)
    async with open_pool(recycled_table(tmp_path)) as stage:
        before = stage.pids()
        write_app(tmp_path, boot=5)
        use_up(stage, 0)
        await stage.wait(lambda: stage.surroundings.tally.backend_starts["web", "recycle"] == 1)
        assert before[1] is not None
        os.kill(before[1], signal.SIGKILL)
        await stage.wait(lambda: stage.ready == {0})
        assert [backend.pid for backend in stage.pool.core.backends if backend.claimable] == [before[0]]
        await stage.wait(lambda: stage.surroundings.tally.backend_starts["web", "crash"] == 1)
        assert stage.surroundings.tally.backend_starts["web", "recycle"] == 1


@pytest.mark.fail_after(30)
async def test_a_backend_that_dies_while_it_is_replaced_is_not_respawned_as_well(tmp_path: Path):
    """What is on its way fills the slot."""
    write_app(tmp_path)
    async with open_pool(recycled_table(tmp_path)) as stage:
        before = stage.pids()
        write_app(tmp_path, boot=1)
        use_up(stage, 0)
        await stage.wait(lambda: stage.surroundings.tally.backend_starts["web", "recycle"] == 1)
        pid = before[0]
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await stage.wait(lambda: seen(stage, "backend.recycled"))
        assert stage.ready == {0, 1}
        assert stage.surroundings.tally.backend_starts == {("web", "boot"): 2, ("web", "recycle"): 1}


@pytest.mark.fail_after(30)
async def test_a_backend_that_fails_its_probes_is_replaced_when_it_is_due(tmp_path: Path):
    """One that has grown until it answers no more is what recycling is for."""
    write_app(tmp_path)
    async with open_pool(recycled_table(tmp_path, health={"interval": "1h"})) as stage:
        before = stage.pids()
        use_up(stage, 0)
        make_ill(stage, 0)
        await stage.wait(lambda: seen(stage, "backend.recycled"))
        await stage.wait(lambda: len(stage.pool.core.backends) == 2)
        assert stage.pids()[0] != before[0]
        assert stage.ready == {0, 1}


@pytest.mark.fail_after(30)
async def test_a_backend_that_is_due_waits_for_another_that_fails_its_probes(tmp_path: Path):
    """The one that is due may be the last that serves."""
    write_app(tmp_path)
    async with open_pool(recycled_table(tmp_path, health={"interval": "1h"})) as stage:
        use_up(stage, 0)
        ill = make_ill(stage, 1)
        with trio.move_on_after(2.5):
            await stage.wait(lambda: seen(stage, "backend.recycling"))
        assert stage.ready == {0}
        stage.pool.entries.set_health(ill, Health.HEALTHY)
        await stage.wait(lambda: seen(stage, "backend.recycled"))


@pytest.mark.fail_after(30)
async def test_a_replacement_that_alone_is_left_is_not_broken_off(tmp_path: Path):
    """The old backend and the one in the other slot are dead: it is what serves soonest."""
    write_app(tmp_path)
    async with open_pool(recycled_table(tmp_path)) as stage:
        pids = stage.pids()
        write_app(tmp_path, boot=2)
        use_up(stage, 0)
        await stage.wait(lambda: stage.surroundings.tally.backend_starts.get(("web", "recycle")) == 1)
        for number, pid in enumerate((pids[0], pids[1]), start=1):
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            # As the pool learns of it: of two that end in one turn of the loop either may be the first.
            await stage.wait(partial(ended, stage, number))
        await stage.wait(lambda: seen(stage, "backend.recycled"))
        await stage.wait(lambda: stage.ready == {0, 1})
        assert stage.surroundings.tally.backend_starts == {
            ("web", "boot"): 2,
            ("web", "recycle"): 1,
            ("web", "crash"): 1,
        }


@pytest.mark.fail_after(30)
async def test_an_old_backend_is_replaced_whatever_it_has_served(tmp_path: Path):
    """And the second only when the first is done with."""
    write_app(tmp_path)
    async with open_pool(recycled_table(tmp_path, recycle={"age": "2s"})) as stage:
        await stage.wait(lambda: stage.kinds().count("backend.recycled") == 2)
        told = [record["slot"] for record in stage.log if record["event"] in ("backend.recycling", "backend.recycled")]
        assert told in ([0, 0, 1, 1], [1, 1, 0, 0])
        assert all(record["reason"] == "age" for record in stage.logged("backend.recycling"))


@pytest.mark.fail_after(30)
async def test_a_limit_that_a_new_backend_reaches_replaces_none(tmp_path: Path):
    """It is told once."""
    write_app(tmp_path)
    async with open_pool(recycled_table(tmp_path, recycle={"memory": "1MiB", "requests": 3})) as stage:
        use_up(stage, 0)
        await stage.wait(lambda: seen(stage, "backend.recycled"))
        assert len(stage.logged("recycle.memory_too_small")) == 1
        assert [record["reason"] for record in stage.logged("backend.recycling")] == ["requests"]


@pytest.mark.fail_after(30)
async def test_a_backend_that_boots_for_long_is_new_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Else each would be replaced as soon as it is ready, because of a memory that it has had since its birth."""
    monkeypatch.setattr(recycler, "NEW", 2.5)
    write_app(tmp_path, boot=3)
    async with open_pool(recycled_table(tmp_path, recycle={"memory": "1MiB", "requests": 3})) as stage:
        use_up(stage, 0)
        await stage.wait(lambda: seen(stage, "backend.recycling"))
        assert [record["reason"] for record in stage.logged("backend.recycling")] == ["requests"]
        assert len(stage.logged("recycle.memory_too_small")) == 1


GROWING = """
import runpy, threading, time
def grow():
    time.sleep(2)
    global held
    held = b"x" * (100 << 20)
threading.Thread(target=grow, daemon=True).start()
runpy.run_module("faulty.plain", run_name="__main__", alter_sys=True)
"""


@pytest.mark.fail_after(30)
async def test_a_backend_that_has_grown_is_replaced(tmp_path: Path):
    """By what it takes with everything that it has started."""
    (tmp_path / "shop.py").write_text(GROWING)
    async with open_pool(recycled_table(tmp_path, recycle={"memory": "90MiB"})) as stage:
        before = stage.pids()
        await stage.wait(lambda: seen(stage, "backend.recycled"))
        (record, *_) = stage.logged("backend.recycling")
        assert record["reason"] == "memory"
        assert record["memory"] >= 90 << 20
        assert stage.pids()[record["slot"]] != before[record["slot"]]


@pytest.mark.fail_after(30)
async def test_a_takeover_that_begins_breaks_a_replacement_off_and_holds_others_up(tmp_path: Path):
    """Until it has come to nothing."""
    write_app(tmp_path)
    async with open_pool(recycled_table(tmp_path)) as stage:
        before = stage.pids()
        write_app(tmp_path, boot=20)
        use_up(stage, 0)
        await stage.wait(lambda: stage.surroundings.tally.backend_starts["web", "recycle"] == 1)
        stage.pool.recycler.hold()
        assert {backend.pid for backend in stage.pool.core.backends if backend.claimable} == set(before.values())
        write_app(tmp_path)
        with trio.move_on_after(2.5):
            await stage.wait(lambda: seen(stage, "backend.recycled"))
        assert stage.surroundings.tally.backend_starts["web", "recycle"] == 1
        stage.pool.recycler.held = False
        await stage.wait(lambda: seen(stage, "backend.recycled"))


@pytest.mark.fail_after(30)
async def test_a_rollout_is_not_told_of_the_end_of_one_that_was_recycled_out_of_its_slot(tmp_path: Path):
    """Slot and generation are the same: what serves is drained to its end all the same."""
    write_app(tmp_path)
    async with open_pool(recycled_table(tmp_path)) as stage, trio.open_nursery() as nursery:
        before = stage.pids()
        use_up(stage, 0)
        leaving = stage.plane.claim(stage.pool.core, 0)
        await stage.wait(lambda: seen(stage, "backend.recycled"))
        serving = stage.plane.claim(stage.pool.core, 0)
        assert (leaving.pid, serving.generation) == (before[0], leaving.generation)
        nursery.start_soon(stage.roll)
        await stage.wait(lambda: stage.kinds().count("rollout.step") >= 2 and serving.state is BackendState.DRAINING)
        stage.plane.finish(leaving)
        await stage.wait(lambda: leaving not in stage.pool.core.backends)
        assert serving.state is BackendState.DRAINING
        stage.plane.finish(serving)
        await stage.wait(lambda: seen(stage, "rollout.done"))
        assert stage.plane.cuts == 0
