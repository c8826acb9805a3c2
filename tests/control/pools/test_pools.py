"""A supervised pool with real processes: filled, refilled, drained, locked, ended."""

from __future__ import annotations

import os
import re
import signal
import sys
from pathlib import Path

import pytest
import trio

from hotswap.control.pools.supervised_backend import ExitReason
from hotswap.control.pools.trouble import describe_trouble
from hotswap.core.errors import NotFound, RefusalCode, Refused
from hotswap.core.pool.last_error import LastError
from hotswap.core.pool.lifecycle import BackendState, Health
from hotswap.core.pool.view import Applied, PoolView
from hotswap.core.rollout.compatibility import Unreadable
from tests.support.hotswap import wait_gone
from tests.support.pool_stage import Stage, open_pool, supervised_table


def kill(stage: Stage, slot: int) -> int:
    """SIGKILL the backend of a slot; gives its process id."""
    member = stage.pool.members.find(slot)
    assert member is not None
    os.kill(member.process.pid, signal.SIGKILL)
    return member.process.pid


async def test_every_slot_is_filled_at_boot_with_generation_1(tmp_path):
    """The slots are filled in parallel, and each start is counted with its reason."""
    async with open_pool(supervised_table(tmp_path, size=3)) as stage:
        backends = stage.pool.core.backends
        assert sorted((backend.slot, backend.generation) for backend in backends) == [(0, 1), (1, 1), (2, 1)]
        assert stage.surroundings.tally.backend_starts == {("web", "boot"): 3}
        assert all(backend.health is Health.HEALTHY for backend in backends)


async def test_a_crashed_backend_is_respawned_in_its_slot(tmp_path):
    """The other slot is not touched, and the death is logged as an error with its process id and how it ended."""
    async with open_pool(supervised_table(tmp_path)) as stage:
        before = stage.pids()
        killed = kill(stage, 1)
        await stage.wait(lambda: stage.pids().get(1, killed) != killed)
        assert stage.pids()[0] == before[0]
        assert stage.surroundings.tally.backend_exits == {("web", "crashed"): 1}
        assert stage.surroundings.tally.backend_starts["web", "crash"] == 1
        (record,) = stage.logged("backend.crashed")
        assert (record["level"], record["pid"], record["exit"]) == ("error", killed, "killed by SIGKILL")


async def test_a_slot_between_crash_and_respawn_is_shown_as_backoff(tmp_path):
    """Nobody has to guess why a slot has no process."""
    async with open_pool(supervised_table(tmp_path)) as stage:
        kill(stage, 0)
        await stage.wait(lambda: "backend.backoff" in stage.kinds())
        await stage.wait_full()
        assert [backend.state for backend in stage.pool.core.backends] == [BackendState.READY] * 2


async def test_a_respawn_takes_the_release_that_the_slot_was_started_from(tmp_path):
    """A link that moved on since the boot brings no new code into a respawn."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    (tmp_path / "current").symlink_to("one")
    async with open_pool(supervised_table(tmp_path / "current")) as stage:
        (tmp_path / "current").unlink()
        (tmp_path / "current").symlink_to("two")
        killed = kill(stage, 0)
        await stage.wait(lambda: stage.pids().get(0, killed) != killed)
        member = stage.pool.members.find(0)
        assert member is not None
        assert os.readlink(f"/proc/{member.process.pid}/cwd") == str(tmp_path / "one")


async def test_a_backend_that_never_becomes_ready_is_tried_again_with_growing_waits(tmp_path):
    """After three failures nothing is held for the pool any more, and it is said loudly."""
    table = supervised_table(tmp_path, "faulty", "dies-at-start", "--seconds", "0", size=1)
    async with open_pool(table, full=False) as stage:
        await stage.wait(lambda: not stage.pool.core.expecting)
        await stage.wait(lambda: len(stage.logged("slot.crash_looping")) == 1)
        assert stage.surroundings.tally.backend_starts["web", "crash"] >= 2
        assert stage.surroundings.tally.backend_exits.keys() == {("web", "start-failed")}
        assert "faulty: cannot find the table of orders" in stage.logged("backend.failed")[0]["output"]


async def test_a_crash_loop_says_its_reason_once_and_then_counts(tmp_path):
    """What the backend wrote and how it ended, in log, events and state; what says the same again is left out."""
    table = supervised_table(tmp_path, "faulty", "dies-at-start", "--seconds", "0", size=1)
    reason = "exited with status 3: faulty: cannot find the table of orders"
    async with open_pool(table, full=False) as stage:
        core, slot = stage.pool.core, stage.pool.slots[0]
        await stage.wait(lambda: "slot.crash_looping" in stage.kinds())
        (loop,) = stage.logged("slot.crash_looping")
        assert (loop["level"], loop["last_error"], loop["failed_starts"]) == ("error", reason, 3)
        assert core.last_error(0) == LastError(text=reason, exit="exit code 3")
        assert slot.next_try is not None
        assert slot.next_try > trio.current_time() - 1
        await stage.wait(lambda: core.failed_starts(0) >= 5)
        errors = [record["event"] for record in stage.log if record["level"] == "error"]
        assert errors.count("backend.failed") == 1
        assert errors.count("slot.crash_looping") == 1
        assert stage.logged("backend.failed")[0]["detail"] == reason
        # Three are told whole before it is a loop; from then on their lines are left out.
        lines = [record for record in stage.logged("backend.output") if "table of orders" in record["line"]]
        assert len(lines) == 3
        failed = [event for event in stage.surroundings.events.recent() if event.kind == "backend.failed"]
        assert {event.fields["last_error"] for event in failed} == {reason}


async def test_a_new_reason_is_told_anew_and_so_is_the_recovery(tmp_path):
    """With the output that explains it, however often it failed before for another."""
    script = tmp_path / "serve.sh"
    script.write_text("echo no database >&2; exit 3\n")
    table = supervised_table(tmp_path, size=1, command=["sh", str(script)])
    async with open_pool(table, full=False) as stage:
        core = stage.pool.core
        await stage.wait(lambda: core.failed_starts(0) >= 3)
        script.write_text("echo no cache >&2; exit 4\n")
        other = LastError(text="exited with status 4: no cache", exit="exit code 4")
        await stage.wait(lambda: core.last_error(0) == other)
        told = [record for record in stage.logged("backend.failed") if record["level"] == "error"]
        assert [record["output"] for record in told] == [["no database"], ["no cache"]]
        script.write_text(f"echo here we go; exec {sys.executable} -m faulty.plain\n")
        await stage.wait_full()
        (recovered,) = stage.logged("slot.recovered")
        assert recovered["crashes"] >= 4
        assert core.last_error(0) is None
        assert "here we go" in [record["line"] for record in stage.logged("backend.output")]


async def test_a_backend_that_serves_and_crashes_again_and_again_is_a_crash_loop_too(tmp_path):
    """Its last words are told once, that it goes on is counted, and the status counts with it."""
    async with open_pool(supervised_table(tmp_path, size=1)) as stage:

        def trouble() -> tuple[object, bool]:
            told = describe_trouble(stage.pool.core, 0, stage.pool.slots[0])
            return told["attempts"], told["next_try"] is not None

        for crashes in range(1, 4):
            kill(stage, 0)
            await stage.wait(lambda: trouble() == (crashes, True))  # noqa: B023
            await stage.wait(lambda: stage.kinds().count("backend.ready") > crashes)  # noqa: B023
            assert trouble() == (0, False)
        assert [record["level"] for record in stage.logged("backend.crashed")] == ["error", "error", "debug"]
        reasons = [record["last_error"] for record in stage.logged("backend.crashed")]
        assert len(reasons) == 3
        assert set(reasons) == {"killed by SIGKILL, which the proxy did not send: was the machine out of memory?"}
        (loop,) = stage.logged("slot.crash_looping")
        assert loop["crashes"] == 3
        exited = [event for event in stage.surroundings.events.recent() if event.kind == "backend.exited"]
        assert [event.fields["last_error"] for event in exited] == reasons


@pytest.mark.parametrize("server", ["uvicorn", "hypercorn", "gunicorn", "granian", "waitress", "daphne"])
async def test_the_reason_is_found_in_what_each_server_writes(tmp_path, server):
    """As these versions of them write it: of an app that cannot be imported, what is missing."""
    (tmp_path / "shop.py").write_text("import a_library_of_last_week\n")
    table = supervised_table(tmp_path, server=server, command=[], app="shop:app", size=1)
    async with open_pool(table, full=False) as stage:
        await stage.wait(lambda: stage.pool.core.last_error(0) is not None)
        error = stage.pool.core.last_error(0)
        assert error is not None
        assert re.fullmatch(
            r"exited with status \d: ModuleNotFoundError: No module named 'a_library_of_last_week'", error.text
        )


async def test_an_order_about_a_slot_that_is_down_says_why_it_is(tmp_path):
    """Nobody has to look it up elsewhere."""
    table = supervised_table(tmp_path, size=2, command=["sh", "-c", "echo no database >&2; exit 3"])
    async with open_pool(table, full=False) as stage:
        await stage.wait(lambda: stage.pool.core.failed_starts(0) >= 1)
        with pytest.raises(Refused, match="exited with status 3: no database") as refused:
            stage.pool.drain_slot(0)
        state = refused.value.state
        assert (state["last_error"], state["exit"]) == ("exited with status 3: no database", "exit code 3")
        assert state["attempts"] in range(1, 10)
        assert "next_try" in state


async def test_a_program_that_does_not_exist_leaves_the_pool_trying(tmp_path):
    """It is a failed start like any other."""
    table = supervised_table(tmp_path, size=1, command=[str(tmp_path / "nothing")])
    async with open_pool(table, full=False) as stage:
        await stage.wait(lambda: stage.kinds().count("backend.failed") >= 2)
        assert stage.logged("backend.failed")[0]["reason"] == "exited"
        error = stage.pool.core.last_error(0)
        assert error is not None
        assert str(tmp_path / "nothing") in error.text


async def test_a_start_tells_at_once_that_the_health_check_is_answered_otherwise(tmp_path):
    """Once each, long before `start_timeout`: the path or the statuses may be wrong, and who waits wants to know."""
    table = supervised_table(tmp_path, health={"interval": "50ms", "expect": "418"}, start_timeout="60s")
    async with open_pool(table, full=False) as stage:
        with trio.fail_after(10):
            while len(stage.logged("backend.not_yet_healthy")) < 2:
                await trio.sleep(0.02)
        told = stage.logged("backend.not_yet_healthy")
        failed = stage.surroundings.tally.health_checks["web", "fail"]
        with trio.fail_after(10):
            while stage.surroundings.tally.health_checks["web", "fail"] < failed + 6:
                await trio.sleep(0.02)
        assert stage.logged("backend.not_yet_healthy") == told
        assert {record["slot"] for record in told} == {0, 1}
        assert told[0]["detail"] == "/healthz has status 200, expected 418"


async def test_an_unhealthy_backend_is_left_alive_out_of_rotation(tmp_path):
    """It comes back by itself when its probes pass again."""
    table = supervised_table(tmp_path, health={"interval": "50ms", "timeout": "100ms", "unhealthy_after": 2})
    async with open_pool(table) as stage:
        member = stage.pool.members.find(0)
        assert member is not None
        os.kill(member.process.pid, signal.SIGSTOP)
        await stage.wait(lambda: stage.ready == {1})
        error = stage.pool.core.last_error(0)
        assert error is not None
        assert error.text.startswith("unhealthy: ")
        assert stage.pool.core.last_error(1) is None
        assert member.backend.state is BackendState.READY
        assert stage.surroundings.tally.health_checks["web", "fail"] >= 2
        os.kill(member.process.pid, signal.SIGCONT)
        await stage.wait_full()
        assert stage.pool.members.find(0) is member
        assert len(stage.logged("backend.unhealthy")) == 1


async def test_a_locked_pool_respawns_nothing_until_it_is_unlocked(tmp_path):
    """Each death is an error with the advice; unlock refills the pool."""
    async with open_pool(supervised_table(tmp_path)) as stage:
        stage.pool.lock("rollout r1 failed")
        killed = kill(stage, 0)
        await wait_gone(killed)
        await stage.wait(lambda: len(stage.pool.core.backends) == 1)
        (record,) = stage.logged("backend.not_respawned")
        assert record["level"] == "error"
        assert "hotswap unlock web" in record["detail"]
        assert stage.pool.unlock()
        await stage.wait_full()
        assert stage.surroundings.tally.backend_starts["web", "refill"] == 1
        assert not stage.pool.unlock()


async def test_a_lock_ends_a_respawn_that_waits_and_an_unlock_in_the_same_instant_begins_another(tmp_path):
    """The attempt that is on its way out does not stand in the way of the next one."""
    async with open_pool(supervised_table(tmp_path)) as stage:
        kill(stage, 0)
        await stage.wait(lambda: "backend.backoff" in stage.kinds())
        stage.pool.lock("for the test")
        assert stage.pool.unlock()
        await stage.wait_full()
        assert len(stage.pool.members) == 2


async def test_the_data_plane_is_told_the_directories_of_releases_that_visitors_have_seen(tmp_path):
    """Those that serve, then those before; not one that never served, and each from before it can be claimed."""
    places = [tmp_path / name for name in "abc"]
    for place in places:
        place.mkdir()
    first, broken, second = map(str, places)
    async with open_pool(supervised_table(places[0])) as stage:
        views: list[PoolView] = []
        publish = stage.plane.claims["web"].apply

        def look(view: PoolView) -> Applied:
            views.append(view)
            return publish(view)

        stage.pool.core.publish_to(look)
        assert stage.pool.core.view().directories == (first,)
        await stage.roll(supervised_table(places[1], "faulty", "dies-at-start", "--seconds", "0"))
        assert stage.pool.core.view().directories == (first,)
        assert not any(broken in view.directories for view in views)
        stage.pool.unlock()
        await stage.roll(supervised_table(places[2]))
        new = [view for view in views if any(one.claimable and one.generation == 3 for one in view.backends)]
        assert new
        assert {view.directories for view in new} == {(second, first)}


async def test_an_operator_drains_a_backend_and_readmits_it(tmp_path):
    """It stays alive, and nothing new is claimed for it."""
    async with open_pool(supervised_table(tmp_path)) as stage:
        before = stage.pids()
        stage.pool.drain_slot(0)
        assert stage.ready == {1}
        stage.pool.drain_slot(0)
        stage.pool.readmit_slot(0)
        assert stage.ready == {0, 1}
        assert stage.pids() == before


async def test_a_backend_that_is_about_to_be_stopped_is_not_readmitted(tmp_path):
    """Whoever waits until nothing is in flight in it stops it then."""
    async with open_pool(supervised_table(tmp_path)) as stage:
        member = stage.pool.members.find(0)
        stage.pool.drain_slot(0)
        assert member is not None
        member.expect(ExitReason.STOPPED)
        assert not stage.pool.members.readmit(member)
        assert stage.ready == {1}


async def test_the_last_backend_that_can_be_claimed_is_not_drained(tmp_path):
    """Its requests would be answered 503 at once; the answer says what to do instead."""
    async with open_pool(supervised_table(tmp_path)) as stage:
        stage.pool.drain_slot(0)
        with pytest.raises(Refused, match="hotswap pause web") as refused:
            stage.pool.drain_slot(1)
        assert refused.value.code is RefusalCode.NOT_READY
        assert stage.ready == {1}


async def test_a_slot_that_does_not_exist_is_unknown(tmp_path):
    """Slots are numbered from 0 to size - 1."""
    async with open_pool(supervised_table(tmp_path)) as stage:
        for number in (-1, 2):
            with pytest.raises(NotFound, match="no slot "):
                stage.pool.drain_slot(number)


async def test_a_drained_backend_that_dies_is_respawned_and_never_claimable(tmp_path):
    """The order is about the slot, and the next backend in it waits for its readmission too."""
    async with open_pool(supervised_table(tmp_path)) as stage:
        claimable = []
        stage.pool.drain_slot(0)
        stage.pool.core.observe(lambda _event: claimable.append(stage.ready))
        killed = kill(stage, 0)

        def respawned() -> bool:
            member = stage.pool.members.find(0)
            return member is not None and member.process.pid != killed

        await stage.wait(respawned)
        assert set(claimable) == {frozenset({1})}
        stage.pool.readmit_slot(0)
        assert stage.ready == {0, 1}
        assert not stage.pool.is_drained(0)


async def test_a_drained_slot_is_readmitted_while_it_has_no_backend(tmp_path):
    """The one that is on its way is in rotation as soon as it is ready; a slot that is not drained is refused."""
    async with open_pool(supervised_table(tmp_path)) as stage:
        stage.pool.drain_slot(0)
        kill(stage, 0)
        await stage.wait(lambda: "backend.backoff" in stage.kinds())
        stage.pool.readmit_slot(0)
        with pytest.raises(Refused, match="no backend that is ready"):
            stage.pool.readmit_slot(0)
        await stage.wait_full()


async def test_stopping_ends_every_backend_in_order(tmp_path):
    """They are asked, they end by themselves, and none is respawned."""
    async with open_pool(supervised_table(tmp_path)) as stage:
        await stage.pool.stop(drain_timeout=1)
        await stage.wait(lambda: not stage.pool.core.backends)
        assert stage.surroundings.tally.backend_exits == {("web", "stopped"): 2}
        assert list(stage.pool.members) == []


async def test_stopping_waits_for_what_is_in_flight_and_then_cuts_it(tmp_path):
    """A drain is an act with a deadline."""
    async with open_pool(supervised_table(tmp_path)) as stage:
        backend = stage.plane.claim(stage.pool.core, 0)
        await stage.pool.stop(drain_timeout=0.2)
        assert stage.plane.cuts == 1
        assert stage.plane.in_flight(backend) == 0
        assert stage.surroundings.tally.backend_exits == {("web", "stopped"): 2}


async def test_stopping_while_backends_boot_kills_them(tmp_path):
    """Nothing was ever sent to them."""
    async with open_pool(supervised_table(tmp_path, "faulty.plain", "--boot-seconds", "60"), full=False) as stage:
        await stage.wait(lambda: len(stage.pool.members) == 2)
        pids = [member.process.pid for member in stage.pool.members]
        await stage.pool.stop(drain_timeout=0)
        for pid in pids:
            await wait_gone(pid)
        await stage.wait(lambda: not stage.pool.core.backends)
        assert stage.surroundings.tally.backend_exits == {("web", "discarded"): 2}


async def test_a_backend_that_ignores_sigterm_is_killed_after_stop_timeout(tmp_path):
    """The kill is logged as a kill."""
    table = supervised_table(tmp_path, "faulty", "ignores-sigterm", stop_timeout="200ms")
    async with open_pool(table) as stage:
        await stage.pool.stop(drain_timeout=0)
        assert stage.surroundings.tally.backend_exits == {("web", "killed"): 2}
        assert len(stage.logged("backend.killed")) == 2


async def test_cancelling_the_pool_leaves_no_process(tmp_path):
    """Cancellation is force."""
    async with open_pool(supervised_table(tmp_path)) as stage:
        pids = [member.process.pid for member in stage.pool.members]
    for pid in pids:
        await wait_gone(pid)


async def test_output_of_any_kind_hurts_nobody(tmp_path: Path):
    """Megabytes, bytes that are no text, lines without an end."""
    async with open_pool(supervised_table(tmp_path, "faulty", "huge-output", size=1)) as stage:
        await stage.wait_full()
        assert len(stage.pool.members) == 1


async def test_a_number_that_cannot_be_read_at_boot_is_told_and_read_again(tmp_path):
    """Every holder of the release knows it then."""
    table = supervised_table(tmp_path, compatibility={"file": "EPOCH"})
    async with open_pool(table) as stage:
        pool = stage.pool
        assert isinstance(pool.release.compatibility, Unreadable)
        (tmp_path / "EPOCH").write_text("7\n")
        while not stage.logged("compatibility.read"):
            await trio.sleep(0.05)
        assert [record["level"] for record in stage.logged("compatibility.unreadable")] == ["warning"]
        holders = [slot.release for slot in pool.slots.values()] + [member.release for member in pool.members]
        assert {release.compatibility for release in (pool.release, pool.releases[1], *holders)} == {"7"}
