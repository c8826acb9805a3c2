"""Rollouts performed on a pool with real processes: each strategy, each way to fail, each accident in between."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import structlog
import trio

from hotswap.core.backoff import Backoff
from hotswap.core.config import SupervisedPoolTable
from hotswap.core.pool.events import BackendAdded, PoolEvent
from hotswap.core.pool.lifecycle import BackendState
from hotswap.core.rollout.commands import Outcome
from tests.support.pool_stage import Stage, open_pool, supervised_table


def broken(directory: Path, **settings: object) -> SupervisedPoolTable:
    """The next release, whose backends die at start."""
    return supervised_table(directory, "faulty", "dies-at-start", "--seconds", "0", **settings)


def generations(stage: Stage) -> dict[int, int]:
    """The generation in rotation by slot."""
    return {backend.slot: backend.generation for backend in stage.pool.core.backends if backend.claimable}


def state_of(stage: Stage, slot: int, generation: int) -> BackendState | None:
    """The state of one backend, None when there is none."""
    for backend in stage.pool.core.backends:
        if (backend.slot, backend.generation) == (slot, generation):
            return backend.state
    return None


@pytest.mark.parametrize("strategy", ["drain-first", "surge", "stop-first"])
async def test_every_slot_is_replaced_exactly_once(tmp_path, strategy):
    """Every strategy ends with new processes only, and each old one was asked to stop and did."""
    async with open_pool(supervised_table(tmp_path, rollout={"strategy": strategy}, size=3)) as stage:
        before = set(stage.pids().values())
        rollout = await stage.roll()
        assert rollout.outcome is Outcome.DONE
        assert generations(stage) == {0: 2, 1: 2, 2: 2}
        assert before.isdisjoint(stage.pids().values())
        tally = stage.surroundings.tally
        assert tally.backend_starts == {("web", "boot"): 3, ("web", "rollout"): 3}
        assert tally.backend_exits == {("web", "stopped"): 3}
        assert tally.rollouts == {("web", "done"): 1}
        assert stage.pool.generation == 2
        assert stage.pool.rollout_id is None


@pytest.mark.parametrize("strategy", ["drain-first", "surge", "stop-first"])
async def test_at_most_one_slot_is_out_of_rotation(tmp_path, strategy):
    """Looked at on every event from beginning to end."""
    async with open_pool(supervised_table(tmp_path, rollout={"strategy": strategy}, size=3)) as stage:
        seen = []
        stop = stage.pool.core.observe(lambda _event: seen.append(len(stage.ready)))
        await stage.roll()
        stop()
        assert min(seen) == (3 if strategy == "surge" else 2)


@pytest.mark.parametrize(("strategy", "together"), [("drain-first", True), ("surge", True), ("stop-first", False)])
async def test_only_stop_first_has_the_old_process_gone_before_its_replacement_starts(tmp_path, strategy, together):
    """Old and new live side by side under the others."""
    async with open_pool(supervised_table(tmp_path, rollout={"strategy": strategy})) as stage:
        most = []
        stop = stage.pool.core.observe(lambda _event: most.append(len(stage.pool.members)))
        await stage.roll()
        stop()
        assert max(most) == (3 if together else 2)


async def test_an_exchange_in_flight_is_waited_for(tmp_path):
    """No stop signal while it lasts; the report counts it as drained."""
    async with open_pool(supervised_table(tmp_path)) as stage:
        backend = stage.plane.claim(stage.pool.core, 0)
        async with trio.open_nursery() as nursery:
            run = await stage.plan()
            nursery.start_soon(run.perform)
            await stage.wait(lambda: state_of(stage, 0, 2) is BackendState.READY)
            assert backend.state is BackendState.DRAINING
            assert stage.surroundings.tally.backend_exits == {}
            stage.plane.finish(backend)
        report = run.rollout.report(trio.current_time())
        assert report.slots[0].exchanges.drained == 1
        assert report.slots[0].exchanges.cut == 0


async def test_what_is_in_flight_at_the_drain_deadline_is_cut_and_counted(tmp_path):
    """The rollout goes on: a cut is not a failure."""
    async with open_pool(supervised_table(tmp_path, drain_timeout="100ms")) as stage:
        stage.plane.claim(stage.pool.core, 0)
        rollout = await stage.roll()
        report = rollout.report(trio.current_time())
        assert rollout.outcome is Outcome.DONE
        assert (report.slots[0].exchanges.drained, report.slots[0].exchanges.cut) == (0, 1)
        cut, other = sorted(report.slots, key=lambda slot: -slot.exchanges.cut)
        assert [view.request_line for view in cut.waited_for] == ["GET /slow"]
        assert other.waited_for == ()
        (told,) = stage.logged("backend.drain_timed_out")
        assert told["cut"] == 1
        assert [one["client"] for one in told["exchanges"]] == ["192.0.2.1"]
        (published,) = [e for e in stage.surroundings.events.recent() if e.kind == "backend.drain_timed_out"]
        assert published.fields["exchanges"] == told["exchanges"]


async def test_while_it_drains_the_report_names_what_is_waited_for(tmp_path):
    """As it is at the moment of the question; a drain that has ended by itself waited for nothing."""
    async with open_pool(supervised_table(tmp_path)) as stage, trio.open_nursery() as nursery:
        backend = stage.plane.claim(stage.pool.core, 0)
        run = await stage.plan()
        nursery.start_soon(run.perform)
        await stage.wait(lambda: state_of(stage, 0, 2) is BackendState.READY)
        await run.look_at_drain()
        (view,) = run.rollout.report(trio.current_time()).slots[0].waited_for
        assert (view.request_line, view.age) == ("GET /slow", 1.5)
        stage.plane.finish(backend)
        await run.ended.wait()
        assert all(slot.waited_for == () for slot in run.rollout.report(trio.current_time()).slots)


async def test_the_report_is_one_event_of_the_log_and_of_the_stream(tmp_path):
    """Phases lie within the rollout, and who reads the line needs nothing else."""
    async with open_pool(supervised_table(tmp_path)) as stage:
        rollout = await stage.roll()
        (line,) = stage.logged("rollout.report")
        (event,) = [one for one in stage.surroundings.events.recent() if one.kind == "rollout.report"]
        assert event.fields["report"] == line["report"]
        report = line["report"]
        assert (report["id"], report["outcome"], len(report["slots"])) == (rollout.id, "done", 2)
        for slot in report["slots"]:
            for phase in ("starting", "draining", "stopping"):
                begun, took = slot["offsets"][phase], slot["seconds"][phase]
                assert slot["offsets"]["turn"] <= begun <= begun + took <= report["seconds"] + 0.001


async def test_idle_connections_are_closed_before_the_stop_signal(tmp_path):
    """The backend is signalled only when the proxy holds no connection to it."""
    async with open_pool(supervised_table(tmp_path)) as stage:
        for backend in stage.pool.core.backends:
            stage.plane.idle[backend.id] = 3
        old = {backend.id for backend in stage.pool.core.backends}
        await stage.roll()
        assert old.isdisjoint(stage.plane.idle)


async def test_a_backend_that_ignores_the_stop_signal_is_killed_and_the_rollout_goes_on(tmp_path):
    """A kill is not a failure."""
    table = supervised_table(tmp_path, "faulty", "ignores-sigterm", stop_timeout="100ms")
    async with open_pool(table) as stage:
        rollout = await stage.roll()
        assert rollout.outcome is Outcome.DONE
        assert [slot.killed for slot in rollout.report(trio.current_time()).slots] == [True, True]


@pytest.mark.parametrize("strategy", ["drain-first", "surge"])
async def test_a_replacement_that_dies_leaves_the_old_backend_in_rotation_and_locks_the_pool(tmp_path, strategy):
    """Nothing is forked besides, the other slot is not touched, and the report has the last lines."""
    async with open_pool(supervised_table(tmp_path)) as stage:
        before = stage.pids()
        rollout = await stage.roll(broken(tmp_path, rollout={"strategy": strategy}))
        assert rollout.outcome is Outcome.FAILED
        assert stage.pids() == before
        assert stage.pool.core.locked is not None
        assert rollout.output[-1] == "faulty: cannot find the table of orders"
        assert stage.surroundings.tally.backend_starts["web", "rollout"] == 1
        assert stage.pool.table.command[2] == "faulty.plain"


async def test_after_a_failure_a_crash_is_not_respawned_and_unlock_repairs_it(tmp_path):
    """Unlock refills from the release that worked."""
    async with open_pool(supervised_table(tmp_path)) as stage:
        await stage.roll(broken(tmp_path))
        member = stage.pool.members.find(1)
        assert member is not None
        os.kill(member.process.pid, signal.SIGKILL)
        await stage.wait(lambda: len(stage.pool.members) == 1)
        assert len(stage.logged("backend.not_respawned")) == 1
        stage.pool.unlock()
        await stage.wait_full()
        assert generations(stage) == {0: 1, 1: 1}
        assert (await stage.roll()).outcome is Outcome.DONE


async def test_a_failed_stop_first_step_leaves_the_slot_empty_until_unlock(tmp_path):
    """Its old process was gone already; the other slot serves."""
    async with open_pool(supervised_table(tmp_path)) as stage:
        rollout = await stage.roll(broken(tmp_path, rollout={"strategy": "stop-first"}))
        assert rollout.outcome is Outcome.FAILED
        assert stage.ready == {1}
        stage.pool.unlock()
        await stage.wait_full()
        assert generations(stage) == {0: 1, 1: 1}


async def test_a_replacement_that_never_answers_fails_when_its_time_is_over(tmp_path):
    """A hang is a failure like any other, and nothing of it is left."""
    table = supervised_table(tmp_path, "faulty", "never-ready", start_timeout="300ms")
    async with open_pool(supervised_table(tmp_path)) as stage:
        rollout = await stage.roll(table)
        assert rollout.reason == "timed-out"
        await stage.wait(lambda: len(stage.pool.members) == 2)


async def test_a_replacement_that_answers_500_to_the_probe_fails_as_unhealthy(tmp_path):
    """It was never claimable."""
    table = supervised_table(tmp_path, "faulty", "answers-500", start_timeout="2s")
    async with open_pool(supervised_table(tmp_path)) as stage:
        rollout = await stage.roll(table)
        assert rollout.reason == "unhealthy"


async def test_a_replacement_that_says_it_cannot_serve_fails_at_once(tmp_path):
    """Its own words are in the detail."""
    table = supervised_table(tmp_path, "faulty", "cannot-serve", ready="notify")
    async with open_pool(supervised_table(tmp_path)) as stage:
        rollout = await stage.roll(table)
        assert rollout.reason == "cannot-serve"
        assert "cannot bind the metrics port" in rollout.detail


async def test_rollback_returns_the_replaced_slots_to_the_release_before(tmp_path):
    """With on_failure = "rollback" the pool is not locked, and a good rollout works at once."""
    # Good in slot 0, broken in slot 1, so that there is something to take back.
    script = tmp_path / "backend.sh"
    script.write_text('[ "$HOTSWAP_SLOT" = 0 ] || exit 3\nexec "$@"\n', encoding="utf-8")
    good = supervised_table(tmp_path)
    second = supervised_table(
        tmp_path, command=["/bin/sh", str(script), *good.command], rollout={"on_failure": "rollback"}
    )
    async with open_pool(good) as stage:
        rollout = await stage.roll(second)
        assert rollout.outcome is Outcome.FAILED
        assert rollout.rolled_back
        assert stage.pool.core.locked is None
        assert generations(stage) == {0: 1, 1: 1}
        assert stage.surroundings.tally.backend_starts["web", "rollback"] == 1
        assert (await stage.roll()).outcome is Outcome.DONE
        assert generations(stage) == {0: 3, 1: 3}


STRATEGIES = ["drain-first", "surge", "stop-first"]


def one_down(directory: Path, **settings: object) -> SupervisedPoolTable:
    """A release of which slot 0 never comes up."""
    good = supervised_table(directory)
    script = 'test "$HOTSWAP_SLOT" = 0 && exit 3; exec "$@"'
    return supervised_table(directory, command=["/bin/sh", "-c", script, "sh", *good.command], **settings)


async def wait_one_down(stage: Stage) -> None:
    """Block until slot 0 has failed to start, and every other one serves."""
    others = set(range(1, stage.pool.core.size))
    await stage.wait(lambda: stage.ready == others and stage.pool.core.failed_starts(0) > 0)


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_a_slot_that_is_down_is_filled_first_and_never_by_what_serves(tmp_path, strategy):
    """What serves goes on until the slot is filled; no old release is started again, and each slot is replaced once."""
    async with open_pool(one_down(tmp_path, rollout={"strategy": strategy}, size=3), full=False) as stage:
        await wait_one_down(stage)
        ready_when_filled: list[int] = []
        stop = stage.pool.core.observe(
            lambda _event: ready_when_filled.append(len(stage.ready)) if not generations(stage).get(0) else None
        )
        rollout = await stage.roll(supervised_table(tmp_path, rollout={"strategy": strategy}, size=3))
        stop()
        assert rollout.outcome is Outcome.DONE
        assert rollout.steps[0].slot == 0
        assert set(ready_when_filled) == {2}
        assert generations(stage) == {0: 2, 1: 2, 2: 2}
        assert stage.surroundings.tally.backend_starts["web", "rollout"] == 3


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_a_slot_that_is_down_and_cannot_be_filled_fails_the_rollout_and_costs_nothing(tmp_path, strategy):
    """What serves is not touched; the pool is locked, and after an unlock the next release repairs it."""
    async with open_pool(one_down(tmp_path, rollout={"strategy": strategy}), full=False) as stage:
        await wait_one_down(stage)
        serving = stage.pids()
        rollout = await stage.roll(broken(tmp_path, rollout={"strategy": strategy}))
        assert (rollout.outcome, rollout.reason) == (Outcome.FAILED, "exited")
        assert stage.pids() == serving
        assert stage.pool.core.locked is not None
        unlocked = stage.pool.unlock()
        assert unlocked is not None
        assert (unlocked.refilled, unlocked.serving) == ((0,), (1,))
        assert (await stage.roll(supervised_table(tmp_path))).outcome is Outcome.DONE


async def test_a_rollback_leaves_a_slot_down_that_was_down_before(tmp_path):
    """It is tried again from the release that it had, as before; nothing is locked."""
    rollback = {"on_failure": "rollback"}
    async with open_pool(one_down(tmp_path, rollout=rollback), full=False) as stage:
        await wait_one_down(stage)
        serving = stage.pids()
        rollout = await stage.roll(broken(tmp_path, rollout=rollback))
        assert (rollout.outcome, rollout.rolled_back) == (Outcome.FAILED, True)
        assert stage.pids() == serving
        assert stage.pool.core.locked is None
        assert ("web", "rollback") not in stage.surroundings.tally.backend_starts
        await stage.wait(lambda: stage.surroundings.tally.backend_starts["web", "refill"] == 1)
        assert (await stage.roll(supervised_table(tmp_path))).outcome is Outcome.DONE


async def test_an_abort_while_slots_are_filled_that_were_down_ends_what_starts(tmp_path):
    """What is up already stays; the others are tried again from the release that they had, and nothing is locked."""
    async with open_pool(supervised_table(tmp_path, "backends.nothing", size=3), full=False) as stage:
        await stage.wait(lambda: stage.kinds().count("backend.failed") >= 3)
        script = 'test "$HOTSWAP_SLOT" = 0 || sleep 60; exec "$@"'
        slow = ["/bin/sh", "-c", script, "sh", *supervised_table(tmp_path).command]
        async with trio.open_nursery() as nursery:
            run = await stage.plan(supervised_table(tmp_path, command=slow, size=3))
            nursery.start_soon(run.perform)
            await stage.wait(lambda: stage.ready == {0})
            run.abort()
        assert run.rollout.outcome is Outcome.ABORTED
        assert generations(stage) == {0: 2}
        assert stage.pool.core.locked is None
        await stage.wait(lambda: stage.surroundings.tally.backend_starts["web", "refill"] >= 2)
        assert (await stage.roll(supervised_table(tmp_path, size=3))).outcome is Outcome.DONE
        assert generations(stage) == {0: 3, 1: 3, 2: 3}


async def test_stop_first_never_has_two_processes_in_a_slot_not_even_where_one_only_boots(tmp_path):
    """One that is still starting is killed, and gone, before the release that repairs the slot is spawned."""
    settings: dict[str, object] = {"size": 1, "rollout": {"strategy": "stop-first"}}
    hangs = supervised_table(tmp_path, "faulty.plain", "--boot-seconds", "60", **settings)
    found: list[int] = []
    async with open_pool(hangs, full=False) as stage:
        await stage.wait(lambda: len(stage.pool.members) == 1)

        def count(event: PoolEvent) -> None:
            if isinstance(event, BackendAdded):
                found.append(len(stage.pool.members))

        stop = stage.pool.core.observe(count)
        assert (await stage.roll(supervised_table(tmp_path, **settings))).outcome is Outcome.DONE
        stop()
    assert found == [0]


async def test_an_abort_while_the_replacement_starts_restores_what_was(tmp_path):
    """The replacement is killed, the old backend serves again, and the pool is not locked."""
    slow = supervised_table(tmp_path, "faulty.plain", "--boot-seconds", "60")
    async with open_pool(supervised_table(tmp_path)) as stage:
        before = stage.pids()
        async with trio.open_nursery() as nursery:
            run = await stage.plan(slow)
            nursery.start_soon(run.perform)
            await stage.wait(lambda: state_of(stage, 0, 2) is BackendState.STARTING)
            run.abort()
        assert run.rollout.outcome is Outcome.ABORTED
        assert stage.pids() == before
        assert stage.pool.core.locked is None
        await stage.wait(lambda: len(stage.pool.members) == 2)


async def test_an_old_backend_that_dies_while_it_drains_does_not_disturb_the_rollout(tmp_path):
    """Its slot is filled by the rollout, not by a respawn."""
    async with open_pool(supervised_table(tmp_path)) as stage:
        slow = supervised_table(tmp_path, "faulty.plain", "--boot-seconds", "0.4")
        async with trio.open_nursery() as nursery:
            run = await stage.plan(slow)
            nursery.start_soon(run.perform)
            await stage.wait(lambda: state_of(stage, 0, 2) is BackendState.STARTING)
            member = stage.pool.members.find(0, 1)
            assert member is not None
            os.kill(member.process.pid, signal.SIGKILL)
        assert run.rollout.outcome is Outcome.DONE
        assert generations(stage) == {0: 2, 1: 2}
        assert ("web", "crash") not in stage.surroundings.tally.backend_starts


async def test_a_queued_backend_that_crashes_before_its_turn_is_replaced_once(tmp_path):
    """It is respawned from the old release, waited for, and then has its turn."""
    async with open_pool(supervised_table(tmp_path)) as stage:
        slow = supervised_table(tmp_path, "faulty.plain", "--boot-seconds", "0.4")
        async with trio.open_nursery() as nursery:
            run = await stage.plan(slow)
            nursery.start_soon(run.perform)
            await stage.wait(lambda: state_of(stage, 0, 2) is BackendState.STARTING)
            member = stage.pool.members.find(1)
            assert member is not None
            os.kill(member.process.pid, signal.SIGKILL)
        assert run.rollout.outcome is Outcome.DONE
        assert generations(stage) == {0: 2, 1: 2}
        assert stage.surroundings.tally.backend_starts["web", "rollout"] == 2


async def test_a_queued_slot_that_crashes_again_and_again_is_not_waited_for(tmp_path):
    """Its respawn may be half a minute away, which is longer than the rollout waits; the new release fills it at once.

    And that begins with a clean record: what the old one did wrong makes nobody wait for it.
    """
    async with open_pool(supervised_table(tmp_path)) as stage:
        slow = supervised_table(tmp_path, "faulty.plain", "--boot-seconds", "0.4", start_timeout="3s")
        async with trio.open_nursery() as nursery:
            run = await stage.plan(slow)
            nursery.start_soon(run.perform)
            await stage.wait(lambda: state_of(stage, 0, 2) is BackendState.STARTING)
            stage.pool.slots[1].backoff = Backoff(crashes=9)
            member = stage.pool.members.find(1)
            assert member is not None
            os.kill(member.process.pid, signal.SIGKILL)
        assert run.rollout.outcome is Outcome.DONE
        assert generations(stage) == {0: 2, 1: 2}
        assert ("web", "crash") not in stage.surroundings.tally.backend_starts
        assert stage.pool.slots[1].backoff == Backoff()


async def test_a_late_crash_of_a_new_backend_is_an_ordinary_respawn(tmp_path):
    """A rollout that is done is forgotten; the respawn is of the new release."""
    async with open_pool(supervised_table(tmp_path)) as stage:
        await stage.roll()
        member = stage.pool.members.find(1)
        assert member is not None
        os.kill(member.process.pid, signal.SIGKILL)
        await stage.wait(lambda: stage.ready == {0})
        await stage.wait_full()
        assert generations(stage) == {0: 2, 1: 2}
        assert stage.pool.core.locked is None


async def test_cancelling_a_rollout_ends_it_and_clears_in_progress(tmp_path):
    """It is cancellation by the end of the process, so the pool is left locked rather than half-way in silence."""
    slow = supervised_table(tmp_path, "faulty.plain", "--boot-seconds", "60")
    async with open_pool(supervised_table(tmp_path)) as stage:
        async with trio.open_nursery() as nursery:
            run = await stage.plan(slow)
            nursery.start_soon(run.perform)
            await stage.wait(lambda: state_of(stage, 0, 2) is BackendState.STARTING)
            nursery.cancel_scope.cancel()
        assert run.rollout.outcome is Outcome.FAILED
        assert run.ended.is_set()
        assert stage.pool.rollout_id is None


async def test_a_defect_in_the_performer_ends_the_rollout_and_not_the_proxy(tmp_path):
    """Whatever is raised in here, "in progress" ends and the pool says that it is locked."""

    async with open_pool(supervised_table(tmp_path)) as stage:
        run = await stage.plan()
        stage.plane.defective = True
        await run.perform()
        stage.plane.defective = False
        assert run.rollout.outcome is Outcome.FAILED
        assert stage.pool.core.locked is not None
        assert any("ZeroDivisionError" in repr(record) for record in stage.log)


async def test_a_defect_in_the_data_plane_keeps_no_process_from_being_respawned_or_ended(tmp_path):
    """The supervisor logs it and goes on."""
    async with open_pool(supervised_table(tmp_path)) as stage:
        stage.plane.defective = True
        member = stage.pool.members.find(1)
        assert member is not None
        os.kill(member.process.pid, signal.SIGKILL)
        await stage.wait(lambda: stage.ready == {0})
        await stage.wait_full()
        await stage.pool.stop(drain_timeout=0)
        assert stage.surroundings.tally.backend_exits["web", "stopped"] == 2


async def test_a_changed_size_takes_effect_with_the_rollout(tmp_path):
    """Grown slots are filled when it is done; those too many are ended in order."""
    async with open_pool(supervised_table(tmp_path)) as stage:
        assert (await stage.roll(supervised_table(tmp_path, size=3))).outcome is Outcome.DONE
        await stage.wait_full()
        assert generations(stage) == {0: 2, 1: 2, 2: 2}
        await stage.roll(supervised_table(tmp_path, size=2))
        await stage.wait(lambda: len(stage.pool.members) == 2)
        assert generations(stage) == {0: 3, 1: 3}


async def test_progress_is_told_with_the_id_of_the_rollout(tmp_path):
    """Every line about it and about the backends at hand carries the id, later ones do not; every step is an event."""
    async with open_pool(supervised_table(tmp_path)) as stage:
        await stage.roll()
        turn = ["backend.draining", "backend.starting", "backend.ready", "backend.stopping", "backend.exited"]
        told = [record for record in stage.log if record["event"] in turn and record.get("reason") != "boot"]
        rolling = [record["event"] for record in told if record.get("rollout") == "r1"]
        assert rolling == 2 * turn
        assert all("rollout" not in structlog.get_context(member.log) for member in stage.pool.members)
        names = [record["event"] for record in stage.log if record.get("rollout") == "r1"]
        names = [name for name in names if name.startswith("rollout.")]
        assert names[:6] == [
            "rollout.started",
            "rollout.slot_started",
            "rollout.slot_done",
            "rollout.slot_started",
            "rollout.slot_done",
            "rollout.done",
        ]
        steps = [event for event in stage.surroundings.events.recent() if event.kind == "rollout.step"]
        assert {event.fields["slot"] for event in steps} == {0, 1}
