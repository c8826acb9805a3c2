"""Triggers: which of them lead to rollouts, which are refused, and that a refusal changes nothing."""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from hotswap.control.pools.supervised_pool import SupervisedPool
from hotswap.core.errors import ConfigError, NotFound, PoolNotStarted, RefusalCode, Refused
from hotswap.core.rollout.commands import Outcome
from hotswap.core.rollout.rollout import Rollout
from tests.support.client import fetch
from tests.support.pools import command_pool, listeners, table
from tests.support.runtime_stage import RunningRuntime, open_runtime

STATIC = '[pools.legacy]\naddresses = ["127.0.0.1:9"]\n'


def web(directory: Path, *command: str, **settings: Any) -> str:
    """A listener, a route and a pool "web" of two plain backends."""
    return listeners() + command_pool(directory, *(command or ("faulty.plain",)), **settings)


async def rolled(running: RunningRuntime, pool: str = "web") -> Rollout:
    """Roll one pool to the end."""
    rollout = await running.orders.reload_pool(pool, trigger="test")
    await running.orders.wait_rollout(rollout.id)
    return rollout


async def refused(running: RunningRuntime, pool: str = "web") -> Refused:
    """Trigger, be refused, and see that nothing has changed and that it was counted."""
    before, starts = running.generations(), dict(running.parts.tally.backend_starts)
    with pytest.raises(Refused) as refusal:
        await running.orders.reload_pool(pool, trigger="test")
    assert running.generations() == before
    assert running.parts.tally.backend_starts == starts
    assert running.parts.tally.rollout_refusals[pool, refusal.value.code.value] >= 1
    assert running.kinds()[-1] == "rollout.refused"
    return refusal.value


async def test_a_pool_is_rolled_and_the_rollout_is_remembered(tmp_path):
    """The answer comes at once, the end later."""
    async with open_runtime(web(tmp_path), tmp_path) as running:
        rollout = await running.orders.reload_pool("web", trigger="api")
        assert rollout.in_progress
        assert await running.orders.wait_rollout("r1") is rollout
        assert rollout.outcome is Outcome.DONE
        assert await running.orders.rollouts() == (rollout,)
        assert running.generations() == [2, 2]
        assert (await rolled(running)).id == "r2"


async def test_two_triggers_in_the_same_instant_are_one_rollout_and_one_refusal(tmp_path):
    """The refusal names the rollout that the other one leads to, though it has not begun yet."""
    async with open_runtime(web(tmp_path), tmp_path) as running:
        rollouts: list[Rollout] = []
        refusals: list[Refused] = []

        async def trigger() -> None:
            try:
                rollouts.append(await running.orders.reload_pool("web", trigger="test"))
            except Refused as refusal:
                refusals.append(refusal)

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(trigger)
        assert len(rollouts) == 1
        assert [refusal.code for refusal in refusals] == [RefusalCode.ROLLOUT_IN_PROGRESS] * 4
        assert {refusal.state["rollout"] for refusal in refusals} == {rollouts[0].id}
        await running.orders.wait_rollout(rollouts[0].id)
        assert running.generations() == [2, 2]


async def test_a_trigger_that_is_given_up_while_files_are_read_leaves_no_mark(tmp_path):
    """Cancelled in the middle of the command that tells the number."""
    slow = {"command": ["sleep", "5"]}
    async with open_runtime(web(tmp_path), tmp_path) as running:
        running.write(web(tmp_path, compatibility=slow))
        with trio.move_on_after(0.3):
            await running.orders.reload_pool("web", trigger="test")
        running.write(web(tmp_path))
        assert (await rolled(running)).outcome is Outcome.DONE


async def test_a_static_pool_is_not_rolled(tmp_path):
    """not-supervised, and an unknown pool is unknown."""
    async with open_runtime(web(tmp_path) + STATIC, tmp_path, booted=False) as running:
        await running.wait(lambda: running.generations() == [1, 1] if "web" in running.parts.pools else False)
        with pytest.raises(Refused) as refusal:
            await running.orders.reload_pool("legacy", trigger="test")
        assert refusal.value.code is RefusalCode.NOT_SUPERVISED
        with pytest.raises(NotFound, match="no pool "):
            await running.orders.reload_pool("nothing", trigger="test")


async def test_a_pool_of_one_slot_is_rolled_under_surge_only(tmp_path):
    """And the strategy that counts is the one in the file now."""
    async with open_runtime(web(tmp_path, size=1), tmp_path) as running:
        assert (await refused(running)).code is RefusalCode.POOL_TOO_SMALL
        running.write(web(tmp_path, size=1, strategy="surge"))
        assert (await rolled(running)).outcome is Outcome.DONE
        assert running.generations() == [2]


async def test_a_store_for_one_process_refuses_rollouts(tmp_path):
    """Until the file says that it is shared."""
    async with open_runtime(web(tmp_path, storage={"shared": False}), tmp_path) as running:
        assert (await refused(running)).code is RefusalCode.STORAGE_EXCLUSIVE
        running.write(web(tmp_path))
        assert (await rolled(running)).outcome is Outcome.DONE


async def test_a_locked_pool_refuses_until_it_is_unlocked(tmp_path):
    """Also when the file has been repaired meanwhile."""
    async with open_runtime(web(tmp_path), tmp_path) as running:
        running.write(web(tmp_path, "faulty", "dies-at-start", "--seconds", "0"))
        assert (await rolled(running)).outcome is Outcome.FAILED
        running.write(web(tmp_path))
        assert (await refused(running)).code is RefusalCode.POOL_LOCKED
        assert running.orders.unlock("web")
        assert (await rolled(running)).outcome is Outcome.DONE


async def test_a_trigger_that_would_take_the_last_one_out_that_serves_is_refused(tmp_path):
    """The others are drained by an operator, which is the one case; and the way out is named."""
    async with open_runtime(web(tmp_path), tmp_path) as running:
        running.orders.drain("web", 0)
        refusal = await refused(running)
        assert refusal.code is RefusalCode.NOT_READY
        assert "hotswap readmit web 0" in refusal.detail
        running.orders.readmit("web", 0)
        assert (await rolled(running)).outcome is Outcome.DONE


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("verb", ["reload_all", "reread_configuration"])
async def test_a_pool_in_which_nothing_serves_is_started_from_the_new_release(tmp_path, verb, size):
    """Whether it boots for ever, loops or has one slot only; nobody has to wait, to unlock or to restart."""
    hangs = web(tmp_path, "faulty.plain", "--boot-seconds", "60", size=size, storage={"shared": False})
    async with open_runtime(hangs, tmp_path, booted=False) as running:
        await running.wait(lambda: "backend.added" in running.kinds())
        running.write(web(tmp_path, size=size))
        (rollout,) = (await getattr(running.orders, verb)(trigger="signal")).rollouts
        await running.orders.wait_rollout(rollout.id)
        assert rollout.outcome is Outcome.DONE
        assert running.generations() == [2] * size
        assert len(running.parts.pools["web"].core.backends) == size


async def test_a_slot_that_cannot_start_any_more_is_repaired_by_the_reload(tmp_path):
    """It is filled first, straight from the new release, while the other one serves; then that has its turn."""
    flag = tmp_path / "good"
    flag.touch()
    command = ["sh", "-c", f"test -e {flag} && exec {sys.executable} -m faulty.plain"]
    async with open_runtime(web(tmp_path, command=command), tmp_path) as running:
        flag.unlink()
        victim = running.parts.pools["web"].core.backends[0]
        assert victim.pid is not None
        os.kill(victim.pid, signal.SIGKILL)
        await running.wait(lambda: running.kinds().count("backend.failed") >= 2)
        running.write(web(tmp_path))
        rollout = await rolled(running)
        assert rollout.outcome is Outcome.DONE
        assert rollout.steps[0].slot == victim.slot
        assert running.generations() == [2, 2]


async def test_a_slot_that_an_operator_drained_is_replaced_and_stays_drained(tmp_path):
    """Before those that serve, and a failure leaves it drained too."""
    async with open_runtime(web(tmp_path, size=3), tmp_path) as running:
        running.orders.drain("web", 1)
        rollout = await rolled(running)
        assert rollout.outcome is Outcome.DONE
        assert rollout.steps[0].slot == 1
        core = running.parts.pools["web"].core
        assert core.ready_slots() == {0, 2}
        assert {backend.generation for backend in core.backends} == {2}
        running.write(web(tmp_path, "backends.nothing", size=3))
        assert (await rolled(running)).outcome is Outcome.FAILED
        assert core.ready_slots() == {0, 2}
        assert running.parts.pools["web"].is_drained(1)


async def test_all_slots_that_are_empty_are_filled_at_once_and_one_failure_ends_it(tmp_path):
    """The others are not left half-way, and nothing of theirs stays."""
    async with open_runtime(web(tmp_path, "backends.nothing", size=4), tmp_path, booted=False) as running:
        await running.wait(lambda: running.kinds().count("backend.failed") >= 4)
        running.write(web(tmp_path, "faulty", "dies-at-start", "--seconds", "0.5", size=4))
        rollout = await rolled(running)
        assert rollout.outcome is Outcome.FAILED
        assert len(rollout.steps) == 4
        assert {step.state.value for step in rollout.steps} <= {"failed", "aborted"}
        core = running.parts.pools["web"].core
        assert core.locked is not None
        assert not core.backends
        running.write(web(tmp_path, size=4))
        assert running.orders.unlock("web")
        assert (await rolled(running)).outcome is Outcome.DONE


async def test_a_stop_before_there_are_pools_is_the_first_reason(tmp_path):
    """shutting-down comes before not-ready, for one pool as for all of them."""
    async with open_runtime(web(tmp_path), tmp_path, booted=False) as running:
        with pytest.raises(Refused) as early:
            await running.orders.reload_pool("web", trigger="test")
        running.orders.stop()
        with pytest.raises(Refused) as late:
            await running.orders.reload_pool("web", trigger="test")
        assert (early.value.code, late.value.code) == (RefusalCode.NOT_READY, RefusalCode.SHUTTING_DOWN)


@pytest.mark.parametrize("kind", ["file", "command"])
async def test_another_compatibility_number_is_refused_whichever_is_the_greater(tmp_path, kind):
    """It is read anew at each trigger, and the old number lets a rollout pass again."""
    epoch = tmp_path / "EPOCH"
    epoch.write_text("5\n", encoding="utf-8")
    how = {"file": "EPOCH"} if kind == "file" else {"command": ["cat", "EPOCH"]}
    async with open_runtime(web(tmp_path, compatibility=how), tmp_path) as running:
        for other in ("4", "6"):
            epoch.write_text(f"{other}\n", encoding="utf-8")
            assert (await refused(running)).code is RefusalCode.COMPATIBILITY_MISMATCH
        epoch.unlink()
        assert (await refused(running)).code is RefusalCode.COMPATIBILITY_UNREADABLE
        epoch.write_text("5\n", encoding="utf-8")
        assert (await rolled(running)).outcome is Outcome.DONE


async def test_the_number_is_read_where_the_new_code_will_run(tmp_path):
    """A link that was moved to incompatible code is noticed."""
    for name, number in (("one", "1"), ("two", "2"), ("three", "1")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "EPOCH").write_text(number, encoding="utf-8")
    current = tmp_path / "current"
    current.symlink_to("one")
    async with open_runtime(web(current, compatibility={"file": "EPOCH"}), tmp_path) as running:
        for name in ("two", "three"):
            current.unlink()
            current.symlink_to(name)
            if name == "two":
                assert (await refused(running)).code is RefusalCode.COMPATIBILITY_MISMATCH
        assert (await rolled(running)).outcome is Outcome.DONE
        releases = {backend["release"] for slot in slots(running) for backend in slot["backends"]}
        assert releases == {str(tmp_path / "three")}


def slots(running: RunningRuntime) -> list[dict[str, list[dict[str, object]]]]:
    """The slots of "web" in the status."""
    found = running.orders.status()["pools"]["web"]["slots"]
    assert isinstance(found, list)
    return found


async def test_a_file_with_mistakes_refuses_a_reload_and_changes_nothing(tmp_path):
    """All problems are in the detail; a repaired file works."""
    async with open_runtime(web(tmp_path), tmp_path) as running:
        running.write(web(tmp_path, size=0, balance="by-hand"))
        refusal = await refused(running)
        assert refusal.code is RefusalCode.CONFIG_INVALID
        assert "pools.web.size" in refusal.detail
        assert "pools.web.balance" in refusal.detail
        with pytest.raises(Refused) as of_all:
            await running.orders.reload_all(trigger="signal")
        assert of_all.value.code is RefusalCode.CONFIG_INVALID
        running.write(web(tmp_path))
        assert (await rolled(running)).outcome is Outcome.DONE


async def test_what_another_pool_lacks_on_the_disk_holds_no_reload_of_a_pool_up(tmp_path):
    """A broken link of one app keeps nobody from deploying the other; a reload of all tells it, as does `check`."""
    (tmp_path / "api").mkdir()
    api = command_pool(tmp_path / "api", "faulty.plain").replace("[pools.web]", "[pools.api]")
    async with open_runtime(web(tmp_path) + api, tmp_path) as running:
        (tmp_path / "api").rmdir()
        assert (await rolled(running)).outcome is Outcome.DONE
        with pytest.raises(Refused) as of_all:
            await running.orders.reload_all(trigger="signal")
        assert of_all.value.code is RefusalCode.CONFIG_INVALID
        assert "pools.api.directory" in of_all.value.detail
        # What the text has wrong may be anywhere, and leaves nothing to go by.
        running.write(web(tmp_path) + api.replace("size = 2", "size = 0"))
        refusal = await refused(running)
        assert refusal.code is RefusalCode.CONFIG_INVALID


@pytest.mark.parametrize(("verb", "pools"), [("reload_pool", ["web"]), ("reload_all", [])])
async def test_a_directory_that_is_gone_is_one_problem(tmp_path, verb, pools):
    """It is missing in the file and in the definition that the pool has, and told once."""
    release = tmp_path / "release"
    release.mkdir()
    async with open_runtime(web(release), tmp_path) as running:
        release.rmdir()
        with pytest.raises(Refused) as refusal:
            await getattr(running.orders, verb)(*pools, trigger="signal")
        assert refusal.value.detail.count("pools.web.directory") == 1


async def test_rereading_a_file_with_mistakes_raises_every_problem_and_changes_nothing(tmp_path):
    """As SIGHUP and POST /v1/config/reload need it."""
    async with open_runtime(web(tmp_path), tmp_path) as running:
        running.write(web(tmp_path, size=0, balance="by-hand"))
        with pytest.raises(ConfigError) as failure:
            await running.orders.reread_configuration()
        assert len(failure.value.problems) == 2
        lines = running.config.read_text(encoding="utf-8").splitlines()
        for problem in failure.value.problems:
            assert problem.file == str(running.config)
            assert problem.path.rpartition(".")[2] in lines[problem.line - 1]
        told = [event for event in running.parts.events.recent() if event.kind == "config.invalid"]
        assert told[-1].fields["problems"] == [str(problem) for problem in failure.value.problems]
        assert running.generations() == [1, 1]
        running.write("this is no TOML")
        with pytest.raises(ConfigError):
            await running.orders.reread_configuration()


async def test_what_is_wrong_with_the_machine_is_told_with_the_line_of_the_key_too(tmp_path):
    """A port that another program has, which the text alone cannot tell."""
    async with open_runtime(web(tmp_path), tmp_path) as running:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            running.write(web(tmp_path) + f'[listeners.other]\nbind = ["{address}"]\n')
            line = running.config.read_text(encoding="utf-8").splitlines().index(f'bind = ["{address}"]') + 1
            told = (
                f"{running.config}:{line}: listeners.other.bind[0] must be an address that can be listened on, "
                f'is "{address}"; {address} is in use by another program: stop it or choose another address'
            )
            with pytest.raises(ConfigError) as failure:
                await running.orders.reread_configuration()
            assert str(failure.value) == told
            with pytest.raises(Refused) as of_all:
                await running.orders.reload_all(trigger="signal")
            assert of_all.value.detail == told
        running.write(web(tmp_path))


async def test_rereading_rolls_only_what_has_changed(tmp_path):
    """An unchanged file rolls nothing."""
    async with open_runtime(web(tmp_path), tmp_path) as running:
        answer = await running.orders.reread_configuration()
        assert (answer.rollouts, answer.changes) == ((), ())
        running.write(web(tmp_path, max_in_flight=7))
        answer = await running.orders.reread_configuration()
        assert [rollout.pool for rollout in answer.rollouts] == ["web"]
        await running.orders.wait_rollout(answer.rollouts[0].id)
        assert running.parts.pools["web"].core.max_in_flight == 7
        assert (await running.orders.reread_configuration()).rollouts == ()


async def test_a_size_that_changes_alone_replaces_nothing(tmp_path):
    """What is missing starts, what is too much drains, by the release in force; what stays is the same processes."""
    async with open_runtime(web(tmp_path), tmp_path) as running:
        pool = running.parts.pools["web"]
        stayed = {backend.slot: backend.pid for backend in pool.core.backends}
        running.write(web(tmp_path, size=3))
        answer = await running.orders.reread_configuration()
        assert (answer.rollouts, answer.changes) == ((), ("pool web resized from 2 to 3",))
        await running.wait(lambda: running.generations() == [1, 1, 1])
        assert stayed.items() <= {backend.slot: backend.pid for backend in pool.core.backends}.items()
        assert (await running.orders.reread_configuration()).changes == ()
        running.write(web(tmp_path, size=1))
        answer = await running.orders.reread_configuration()
        assert (answer.rollouts, answer.changes) == ((), ("pool web resized from 3 to 1",))
        await running.wait(lambda: len(pool.core.backends) == 1)
        assert {backend.slot: backend.pid for backend in pool.core.backends} == {0: stayed[0]}
        assert running.kinds().count("backend.crashed") == 0


async def test_a_size_that_changes_during_a_rollout_is_refused(tmp_path):
    """The rollout has a snapshot of the slots; afterwards it is taken over."""
    async with open_runtime(web(tmp_path), tmp_path) as running:
        rollout = await running.orders.reload_pool("web", trigger="test")
        running.write(web(tmp_path, size=3))
        with pytest.raises(Refused) as refusal:
            await running.orders.reread_configuration()
        assert refusal.value.code is RefusalCode.ROLLOUT_IN_PROGRESS
        await running.orders.wait_rollout(rollout.id)
        assert (await running.orders.reread_configuration()).changes == ("pool web resized from 2 to 3",)
        await running.wait(lambda: running.generations() == [2, 2, 2])


async def test_a_store_for_one_process_grows_no_second_one(tmp_path):
    """It is refused as a rollout would be."""
    surge: dict[str, Any] = {"storage": {"shared": False}, "strategy": "surge"}
    async with open_runtime(web(tmp_path, size=1, **surge), tmp_path) as running:
        running.write(web(tmp_path, size=2, **surge))
        with pytest.raises(Refused) as refusal:
            await running.orders.reread_configuration()
        assert refusal.value.code is RefusalCode.STORAGE_EXCLUSIVE
        assert running.parts.pools["web"].core.size == 1


async def test_a_size_that_would_end_all_that_serves_is_rolled_in(tmp_path):
    """The slots that stay are filled from the new release first, and only then what served goes."""
    flag = tmp_path / "good"
    flag.touch()
    command = ["sh", "-c", f"test $HOTSWAP_SLOT = 1 || test -e {flag} && exec {sys.executable} -m faulty.plain"]
    async with open_runtime(web(tmp_path, command=command), tmp_path) as running:
        flag.unlink()
        victim = next(backend for backend in running.parts.pools["web"].core.backends if backend.slot == 0)
        assert victim.pid is not None
        os.kill(victim.pid, signal.SIGKILL)
        await running.wait(lambda: "backend.failed" in running.kinds())
        flag.touch()
        running.write(web(tmp_path, command=command, size=1))
        (rollout,) = (await running.orders.reread_configuration()).rollouts
        await running.orders.wait_rollout(rollout.id)
        assert rollout.outcome is Outcome.DONE
        await running.wait(lambda: running.generations() == [2])


@pytest.mark.parametrize("strategy", ["drain-first", "surge"])
async def test_a_size_that_would_leave_only_what_an_operator_drained_is_refused(tmp_path, strategy):
    """It would be rolled, stay drained, and then all that serves would end."""
    async with open_runtime(web(tmp_path, size=3, strategy=strategy), tmp_path) as running:
        running.orders.drain("web", 0)
        running.write(web(tmp_path, size=1, strategy=strategy))
        with pytest.raises(Refused, match=r"only slot 0 of pool web stays.*hotswap readmit web 0") as refusal:
            await running.orders.reread_configuration()
        assert refusal.value.code is RefusalCode.NOT_READY
        assert running.parts.pools["web"].core.ready_slots() == {1, 2}
        running.orders.readmit("web", 0)
        assert (await running.orders.reread_configuration()).changes == ("pool web resized from 3 to 1",)
        assert running.parts.pools["web"].core.ready_slots() >= {0}


async def test_a_locked_pool_that_grows_says_that_it_starts_nothing(tmp_path):
    """Until it is unlocked: what it would be started from is not known to be good."""
    async with open_runtime(web(tmp_path), tmp_path) as running:
        pool = running.parts.pools["web"]
        assert isinstance(pool, SupervisedPool)
        pool.lock("rollout r1 failed")
        running.write(web(tmp_path, size=3))
        (change,) = (await running.orders.reread_configuration()).changes
        assert change == "pool web resized from 2 to 3, and starts nothing while it is locked: hotswap unlock web"
        running.orders.unlock("web")
        await running.wait(lambda: pool.core.ready_slots() == {0, 1, 2})
        pool.lock("rollout r2 failed")
        running.write(web(tmp_path))
        assert (await running.orders.reread_configuration()).changes == ("pool web resized from 3 to 2",)


async def test_a_refused_reload_uses_up_no_number(tmp_path):
    """The next rollout has it, whether the refusal came before or after the file was read, or the trigger was ended."""
    async with open_runtime(web(tmp_path), tmp_path) as running:
        running.write(web(tmp_path, size=0))
        await refused(running)
        with pytest.raises(Refused):
            await running.orders.reload_all(trigger="test")
        running.write(web(tmp_path, compatibility={"command": ["sleep", "5"]}))
        with trio.move_on_after(0.2):
            await running.orders.reload_pool("web", trigger="test")
        running.write(web(tmp_path))
        assert (await rolled(running)).id == "r1"
        assert (await rolled(running)).id == "r2"


async def test_pools_in_which_nothing_serves_are_rolled_before_the_others(tmp_path):
    """Nobody waits for a rollout of what serves while nothing of theirs does."""
    broken = command_pool(tmp_path, "backends.nothing").replace("[pools.web]", "[pools.api]")
    good = command_pool(tmp_path, "faulty.plain").replace("[pools.web]", "[pools.api]")
    async with open_runtime(web(tmp_path) + broken, tmp_path) as running:
        running.write(web(tmp_path) + good)
        answer = await running.orders.reload_all(trigger="signal")
        assert [rollout.pool for rollout in answer.rollouts] == ["api", "web"]
        for rollout in answer.rollouts:
            await running.orders.wait_rollout(rollout.id)
            assert rollout.outcome is Outcome.DONE


async def test_a_pool_that_stays_down_ends_no_rollout_of_another(tmp_path):
    """It was down before, so its failure says nothing of the deploy; one of a pool that served does."""
    broken = command_pool(tmp_path, "backends.nothing").replace("[pools.web]", "[pools.api]")
    async with open_runtime(web(tmp_path) + broken, tmp_path) as running:
        answer = await running.orders.reload_all(trigger="signal")
        ended = [await running.orders.wait_rollout(rollout.id) for rollout in answer.rollouts]
        assert [(one.pool, one.outcome) for one in ended] == [("api", Outcome.FAILED), ("web", Outcome.DONE)]


async def test_where_nothing_serves_there_is_nothing_to_be_incompatible_with(tmp_path):
    """Another number is taken, and one that cannot be read is told and read again, as at the boot."""
    epoch = tmp_path / "EPOCH"
    epoch.write_text("1\n", encoding="utf-8")
    number = {"file": "EPOCH"}
    async with open_runtime(web(tmp_path, "backends.nothing", compatibility=number), tmp_path, booted=False) as running:
        await running.wait(lambda: running.kinds().count("backend.failed") >= 2)
        epoch.unlink()
        running.write(web(tmp_path, compatibility=number))
        assert (await rolled(running)).outcome is Outcome.DONE
        assert (await refused(running)).code is RefusalCode.COMPATIBILITY_UNREADABLE
        epoch.write_text("2\n", encoding="utf-8")
        with trio.fail_after(10):
            while running.orders.status()["pools"]["web"]["compatibility"] != "2":
                await trio.sleep(0.05)
        assert (await rolled(running)).outcome is Outcome.DONE


async def test_an_unlock_says_what_it_did_and_where_nothing_serves_a_reload_repairs(tmp_path):
    """Slots that it starts again have the release that they had; the refusal before it names both verbs."""
    async with open_runtime(web(tmp_path, "backends.nothing"), tmp_path, booted=False) as running:
        await running.wait(lambda: running.kinds().count("backend.failed") >= 2)
        assert (await rolled(running)).outcome is Outcome.FAILED
        refusal = await refused(running)
        assert refusal.code is RefusalCode.POOL_LOCKED
        assert "hotswap unlock web, then hotswap reload web" in refusal.detail
        unlocked = running.orders.unlock("web")
        assert unlocked is not None
        assert (unlocked.refilled, unlocked.serving) == ((0, 1), ())
        running.write(web(tmp_path))
        assert (await rolled(running)).outcome is Outcome.DONE
        assert running.orders.unlock("web") is None


async def test_a_configuration_that_changes_a_pool_which_cannot_be_rolled_is_not_taken_over(tmp_path):
    """Not even the rest of it."""
    async with open_runtime(web(tmp_path), tmp_path) as running:
        running.orders.drain("web", 0)
        more = table("listeners.more", {"bind": ["127.0.0.1:0"]})
        running.write(web(tmp_path, max_in_flight=7) + more)
        for reload in (running.orders.reread_configuration, running.orders.reload_all):
            with pytest.raises(Refused) as refusal:
                await reload(trigger="signal")
            assert refusal.value.code is RefusalCode.NOT_READY
        assert "more" not in running.parts.config.listeners
        assert running.parts.listeners.bound("more") == ()


@pytest.mark.parametrize("verb", ["reload_all", "reread_configuration"])
async def test_a_definition_that_another_rollout_is_about_to_replace_is_not_said_to_be_in_force(tmp_path, verb):
    """What the file says is what runs before the rollout, and not after it: refused, and accepted afterwards."""
    async with open_runtime(web(tmp_path), tmp_path) as running:
        runtime = running.runtime
        running.write(web(tmp_path, max_in_flight=3))
        rollout = await runtime.orders.reload_pool("web", trigger="test")
        running.write(web(tmp_path))
        with pytest.raises(Refused) as refusal:
            await getattr(runtime.orders, verb)(trigger="test")
        assert refusal.value.code is RefusalCode.ROLLOUT_IN_PROGRESS
        await runtime.orders.wait_rollout(rollout.id)
        (back,) = (await getattr(runtime.orders, verb)(trigger="test")).rollouts
        await runtime.orders.wait_rollout(back.id)
        assert runtime.parts.pools["web"].core.max_in_flight == 0


async def test_every_supervised_pool_is_rolled_one_after_the_other(tmp_path):
    """Static pools are left alone, and both rollouts are in the answer."""
    second = command_pool(tmp_path, "faulty.plain").replace("[pools.web]", "[pools.api]")
    async with open_runtime(web(tmp_path) + second, tmp_path) as running:
        answer = await running.orders.reload_all(trigger="signal")
        assert [rollout.pool for rollout in answer.rollouts] == ["web", "api"]
        with pytest.raises(Refused) as refusal:
            await running.orders.reload_pool("api", trigger="test")
        assert refusal.value.state["rollout"] == answer.rollouts[1].id
        for rollout in answer.rollouts:
            await running.orders.wait_rollout(rollout.id)
        order = [str(event.fields["pool"]) for event in running.parts.events.recent() if event.kind == "rollout.step"]
        assert order == sorted(order, reverse=True)


async def test_a_pool_that_is_refused_and_has_not_changed_does_not_hold_the_others_up(tmp_path):
    """The answer names it."""
    second = command_pool(tmp_path, "faulty.plain").replace("[pools.web]", "[pools.api]")
    async with open_runtime(web(tmp_path) + second, tmp_path) as running:
        running.orders.drain("web", 0)
        answer = await running.orders.reload_all(trigger="signal")
        assert [rollout.pool for rollout in answer.rollouts] == ["api"]
        assert answer.refusals["web"].code is RefusalCode.NOT_READY
        await running.orders.wait_rollout(answer.rollouts[0].id)


async def test_a_rollout_that_fails_aborts_those_behind_it(tmp_path):
    """What broke in the first pool of a deploy is likely to break in the next."""
    second = command_pool(tmp_path, "faulty.plain").replace("[pools.web]", "[pools.api]")
    async with open_runtime(web(tmp_path) + second, tmp_path) as running:
        running.write(web(tmp_path, "faulty", "dies-at-start", "--seconds", "0") + second)
        answer = await running.orders.reload_all(trigger="signal")
        ended = [await running.orders.wait_rollout(rollout.id) for rollout in answer.rollouts]
        assert [rollout.outcome for rollout in ended] == [Outcome.FAILED, Outcome.ABORTED]
        assert running.generations("api") == [1, 1]
        assert running.parts.pools["api"].core.locked is None


async def test_a_pool_that_is_removed_takes_its_queued_rollout_along_and_no_other(tmp_path):
    """It is dropped with its reason, and the one behind it is performed."""
    whole = command_pool(tmp_path, "faulty.plain")
    web, b, c = (whole.replace("[pools.web]", f"[pools.{name}]") for name in ("web", "b", "c"))
    async with open_runtime(listeners() + web + b + c, tmp_path) as running:
        answer = await running.orders.reload_all(trigger="test")
        assert [rollout.pool for rollout in answer.rollouts] == ["web", "b", "c"]
        running.write(listeners() + web + c)
        changes = (await running.orders.reread_configuration(trigger="test")).changes
        assert "rollout r2 of pool b dropped" in changes
        for rollout in answer.rollouts:
            await running.orders.wait_rollout(rollout.id)
        assert [(rollout.outcome, rollout.reason) for rollout in answer.rollouts] == [
            (Outcome.DONE, None),
            (Outcome.ABORTED, "pool-removed"),
            (Outcome.DONE, None),
        ]


@pytest.mark.parametrize("verb", ["reload_all", "reread_configuration"])
async def test_pools_and_listeners_come_and_go_with_the_configuration(tmp_path, verb):
    """New ones serve, those that are gone end, and what stays keeps its port."""
    second = command_pool(tmp_path, "faulty.plain").replace("[pools.web]", "[pools.api]")
    more = table("listeners.more", {"bind": ["127.0.0.1:0"]}) + '[[routes]]\npath = "/whoami"\npool = "api"\n'
    async with open_runtime(web(tmp_path), tmp_path) as running:
        port = running.target().address
        running.write(web(tmp_path) + more + second + STATIC)
        answer = await getattr(running.orders, verb)(trigger="signal")
        assert {"pool api added", "listener more opened", "pool legacy added", "routes changed"} <= set(answer.changes)
        await running.wait(lambda: running.generations("api") == [1, 1])
        response = await running.fetch("/whoami", listener="more")
        assert response.json()["pool"] == "api"
        for rollout in answer.rollouts:
            await running.orders.wait_rollout(rollout.id)
        running.write(web(tmp_path))
        answer = await getattr(running.orders, verb)(trigger="signal")
        assert {"pool api removed", "listener more closed", "pool legacy removed"} <= set(answer.changes)
        await running.wait(lambda: running.kinds().count("pool.removed") == 2)
        for rollout in answer.rollouts:
            await running.orders.wait_rollout(rollout.id)
        assert running.target().address == port
        assert (await running.fetch("/whoami")).json()["pool"] == "web"
        assert set(running.parts.plane.gates) == {"web"}


async def test_a_listener_that_cannot_be_opened_changes_nothing(tmp_path):
    """The port in use is named."""
    async with open_runtime(web(tmp_path), tmp_path) as running:
        taken = running.target().address
        assert isinstance(taken, tuple)
        more = table("listeners.more", {"bind": [f"127.0.0.1:{taken[1]}"]})
        running.write(web(tmp_path, max_in_flight=7) + more)
        with pytest.raises(ConfigError, match=str(taken[1])):
            await running.orders.reread_configuration()
        with pytest.raises(Refused) as refusal:
            await running.orders.reload_all(trigger="signal")
        assert refusal.value.code is RefusalCode.CONFIG_INVALID
        assert running.generations() == [1, 1]


async def test_a_changed_pool_that_cannot_be_rolled_holds_the_whole_configuration_up(tmp_path):
    """And the refusal says so, for it names one pool only."""
    more = table("listeners.more", {"bind": ["127.0.0.1:0"]})
    async with open_runtime(web(tmp_path, size=1), tmp_path) as running:
        running.write(web(tmp_path, size=3, max_in_flight=7) + more)
        with pytest.raises(Refused, match="nothing of the configuration was taken over") as refusal:
            await running.orders.reread_configuration()
        assert refusal.value.code is RefusalCode.POOL_TOO_SMALL
        assert "more" not in running.parts.plane.listeners
        running.write(web(tmp_path, size=3, strategy="surge") + more)
        (rollout,) = (await running.orders.reread_configuration()).rollouts
        await running.orders.wait_rollout(rollout.id)
        await running.wait(lambda: running.generations() == [2, 2, 2])


async def test_a_pool_cannot_become_another_kind_under_its_name(tmp_path):
    """What is in flight in the one could not end in the other."""
    async with open_runtime(web(tmp_path), tmp_path) as running:
        running.write(listeners() + '[pools.web]\naddresses = ["127.0.0.1:9"]\n')
        with pytest.raises(ConfigError, match="another kind of pool"):
            await running.orders.reread_configuration()


async def test_a_static_pool_takes_over_changed_addresses(tmp_path):
    """An address that stays is kept, with its health."""
    async with open_runtime(web(tmp_path) + STATIC, tmp_path, booted=False) as running:
        await running.wait(lambda: "web" in running.parts.pools and running.generations() == [1, 1])
        core = running.parts.pools["legacy"].core
        kept = core.backends[0]
        running.write(web(tmp_path) + STATIC.replace('["127.0.0.1:9"]', '["127.0.0.1:9", "127.0.0.1:11"]'))
        answer = await running.orders.reread_configuration()
        assert answer.changes == ("pool legacy changed",)
        assert core.backends[0] is kept
        assert [str(backend.address) for backend in core.backends] == ["127.0.0.1:9", "127.0.0.1:11"]
        running.write(web(tmp_path) + STATIC.replace(":9", ":12"))
        await running.orders.reread_configuration()
        await running.wait(lambda: [str(backend.address) for backend in core.backends] == ["127.0.0.1:12"])


@pytest.mark.parametrize("verb", ["reload_all", "reread_configuration"])
async def test_a_pool_under_another_name_serves_before_the_old_one_ends(tmp_path, verb):
    """Where it does not come up, nothing has changed: not a route, not a pool, and it leaves no process behind."""
    renamed = web(tmp_path).replace("[pools.web]", "[pools.site]").replace('pool = "web"', 'pool = "site"')
    broken = renamed.replace("faulty.plain", "backends.nothing")
    async with open_runtime(web(tmp_path), tmp_path) as running:
        running.write(broken)
        with pytest.raises(PoolNotStarted, match="pool site is new") as failure:
            await getattr(running.orders, verb)(trigger="signal")
        output = failure.value.state["output"]
        assert isinstance(output, list)
        assert "No module named backends.nothing" in output[-1]
        assert list(running.parts.pools) == ["web"]
        assert (await running.fetch("/whoami")).json()["pool"] == "web"
        with trio.move_on_after(5):
            while running.parts.plane.gates.keys() != {"web"}:
                await trio.sleep(0.01)
        assert set(running.parts.plane.gates) == {"web"}
        assert running.generations() == [1, 1]
        running.write(renamed)
        pools = running.parts.pools
        await getattr(running.orders, verb)(trigger="signal")
        assert list(pools) == ["site"]
        assert pools["site"].core.ready_slots() == {0, 1}
        assert (await running.fetch("/whoami")).json()["pool"] == "site"


async def test_a_static_pool_that_takes_the_place_of_another_has_to_answer(tmp_path):
    """One that is only added may be down: nobody loses by it."""
    replaced = STATIC.replace("legacy", "site") + listeners().replace('pool = "web"', 'pool = "site"')
    async with open_runtime(web(tmp_path), tmp_path) as running:
        running.write(replaced)
        with pytest.raises(PoolNotStarted, match="none of its addresses answers"):
            await running.orders.reread_configuration()
        assert (await running.fetch("/whoami")).json()["pool"] == "web"
        running.write(web(tmp_path) + STATIC)
        assert "pool legacy added" in (await running.orders.reread_configuration()).changes


@pytest.mark.parametrize("verb", ["reload_all", "reread_configuration"])
@pytest.mark.parametrize("changed", [{}, {"max_in_flight": 7}])
async def test_a_pool_that_is_put_back_before_it_has_gone_goes_on(tmp_path, verb, changed):
    """What is in flight in it ends as it would have, and a changed definition is rolled in as ever."""
    slow = listeners() + command_pool(tmp_path, "faulty.plain", drain_timeout="60s")
    other = '[[routes]]\npath = "/other"\npool = "legacy"\n' + STATIC
    without = table("listeners.public", {"bind": ["127.0.0.1:0"]}) + other
    async with open_runtime(slow + other, tmp_path, booted=False) as running, trio.open_nursery() as nursery:
        await running.wait(lambda: running.parts.life.booted)
        pool, answers = running.parts.pools["web"], []

        async def ask() -> None:
            answers.append((await running.fetch("/slow?seconds=2")).status)

        nursery.start_soon(ask)
        with trio.fail_after(5):
            while not any(running.parts.link.in_flight(backend) for backend in pool.core.backends):
                await trio.sleep(0.01)
        running.write(without)
        assert "pool web removed" in (await running.orders.reread_configuration()).changes
        running.write(
            slow.replace("drain_timeout", "max_in_flight = 7\ndrain_timeout") + other if changed else slow + other
        )
        answer = await getattr(running.orders, verb)(trigger="test")
        assert "pool web goes on" in answer.changes
        assert running.parts.pools["web"] is pool
        assert len(answer.rollouts) == (0 if verb == "reread_configuration" and not changed else 1)
        for rollout in answer.rollouts:
            await running.orders.wait_rollout(rollout.id)
            assert rollout.outcome is Outcome.DONE
        await running.wait(lambda: len(pool.core.ready_slots()) == 2)
    assert answers == [200]


@pytest.mark.parametrize("changed", [{}, {"max_in_flight": 7}])
async def test_a_pool_that_has_gone_while_its_return_was_prepared_is_started_anew(tmp_path, changed):
    """It was there when the configuration was read, and is none of the pools that wait on another one that is new."""
    other = '[[routes]]\npath = "/other"\npool = "legacy"\n' + STATIC + '[pools.legacy.health]\ninterval = "50ms"\n'
    without = table("listeners.public", {"bind": ["127.0.0.1:0"]}) + other
    gated = ["sh", "-c", f"until test -e gate; do sleep 0.05; done; exec {sys.executable} -m faulty.plain"]
    site = command_pool(tmp_path, "", command=gated).replace("[pools.web]", "[pools.site]")
    async with open_runtime(web(tmp_path) + other, tmp_path, booted=False) as running, trio.open_nursery() as nursery:
        runtime = running.runtime
        await running.wait(lambda: runtime.parts.life.booted)
        pool, answers = runtime.parts.pools["web"], list[int]()
        changes: list[str] = []

        async def ask() -> None:
            answers.append((await running.fetch("/slow?seconds=1")).status)

        async def put_back() -> None:
            changes.extend((await runtime.orders.reread_configuration()).changes)

        nursery.start_soon(ask)
        with trio.fail_after(10):
            while not any(running.parts.link.in_flight(backend) for backend in pool.core.backends):
                await trio.sleep(0.01)
            running.write(without)
            await runtime.orders.reread_configuration()
            running.write(web(tmp_path, **changed) + other + site)
            nursery.start_soon(put_back)
            while not runtime.parts.pools.proving:
                await trio.sleep(0.01)
            assert runtime.parts.pools.leaving("web") is pool
            await running.wait(lambda: "pool.removed" in running.kinds())
            (tmp_path / "gate").touch()
            while not changes:
                await trio.sleep(0.01)
        assert answers == [200]
        assert {"pool web added", "pool site added"} <= set(changes)
        assert len(runtime.parts.pools["web"].core.ready_slots()) == 2
        assert (await running.fetch("/whoami")).json()["pool"] == "web"


async def test_a_stop_while_a_reload_prepares_is_a_refusal(tmp_path):
    """Whichever of its parts the end of the proxy meets: the sockets that it kept are closed under its hands."""
    async with open_runtime(web(tmp_path), tmp_path) as running, trio.open_nursery() as nursery:
        refusals: list[RefusalCode] = []

        async def read_again() -> None:
            with pytest.raises(Refused) as refused:
                await running.orders.reread_configuration()
            refusals.append(refused.value.code)

        nursery.start_soon(read_again)
        await trio.testing.wait_all_tasks_blocked()
        running.orders.stop()
    assert refusals == [RefusalCode.SHUTTING_DOWN]


def _missing_certificate(tmp_path: Path) -> str:
    files = [{"cert": str(tmp_path / "none.pem"), "key": str(tmp_path / "none.key")}]
    return web(tmp_path) + table("listeners.tls", {"bind": ["127.0.0.1:0"], "tls": {"certificates": files}})


def _port_in_use(tmp_path: Path) -> str:
    port = int((tmp_path / "taken").read_text())
    return web(tmp_path) + table("listeners.more", {"bind": [f"127.0.0.1:{port}"]})


def _environment_that_is_none(tmp_path: Path) -> str:
    (tmp_path / "environment").write_text("this is no line of it\n")
    return web(tmp_path, environment_file=str(tmp_path / "environment"))


def _number_that_cannot_be_read(tmp_path: Path) -> str:
    return web(tmp_path, compatibility={"command": ["false"]})


def _broken_pool(tmp_path: Path) -> str:
    return web(tmp_path) + command_pool(tmp_path, "backends.nothing").replace("[pools.web]", "[pools.new]")


def _pool_that_cannot_be_read(tmp_path: Path) -> str:
    new = command_pool(tmp_path, "faulty.plain", environment_file=str(tmp_path / "environment"))
    (tmp_path / "environment").write_text("this is no line of it\n")
    return web(tmp_path) + new.replace("[pools.web]", "[pools.new]")


def _no_toml(tmp_path: Path) -> str:
    return web(tmp_path) + "]["


PARTS = (
    _missing_certificate,
    _port_in_use,
    _environment_that_is_none,
    _number_that_cannot_be_read,
    _broken_pool,
    _pool_that_cannot_be_read,
    _no_toml,
)


async def test_whichever_part_of_the_preparation_fails_nothing_has_changed(tmp_path):
    """One after the other, by both verbs; then the same proxy takes over a configuration that is right."""
    async with open_runtime(web(tmp_path), tmp_path) as running:
        runtime = running.runtime
        address = running.target().address
        assert isinstance(address, tuple)
        (tmp_path / "taken").write_text(str(address[1]))

        def picture() -> tuple[object, ...]:
            pids = [backend.pid for pool in runtime.parts.pools.values() for backend in pool.core.backends]
            return (
                runtime.parts.config,
                list(runtime.parts.pools),
                pids,
                set(runtime.parts.plane.listeners),
                running.generations(),
            )

        async def settled() -> int:
            while set(runtime.parts.plane.gates) != {"web"} or runtime.parts.pools.proving:
                await trio.sleep(0.01)
            return len(os.listdir("/proc/self/fd"))

        before, descriptors = picture(), await settled()
        for part in PARTS:
            for verb in (runtime.orders.reread_configuration, runtime.orders.reload_all):
                running.write(part(tmp_path))
                with pytest.raises((ConfigError, Refused, PoolNotStarted)):
                    await verb(trigger="test")
                assert picture() == before, part.__name__
        with trio.fail_after(10):
            while await settled() > descriptors:
                await trio.sleep(0.05)
        running.write(web(tmp_path, max_in_flight=7))
        (rollout,) = (await runtime.orders.reread_configuration()).rollouts
        await runtime.orders.wait_rollout(rollout.id)
        assert rollout.outcome is Outcome.DONE


async def test_no_request_fails_while_one_configuration_follows_another(tmp_path):
    """Grown, shrunk, grown again, renamed, renamed badly, put back and changed."""

    def named(name: str, *command: str, **settings: Any) -> str:
        whole = web(tmp_path, *(command or ("faulty.plain",)), **settings)
        return whole.replace("[pools.web]", f"[pools.{name}]").replace('pool = "web"', f'pool = "{name}"')

    steps = (
        named("web", size=3),
        named("web", size=2),
        named("web", size=3),
        named("site"),
        named("shop", "backends.nothing"),
        named("web"),
        named("site"),
        named("site", max_in_flight=50),
    )
    statuses: list[int] = []
    async with open_runtime(web(tmp_path), tmp_path) as running, trio.open_nursery() as nursery:
        address = running.target()

        async def ask() -> None:
            while True:
                statuses.append((await fetch(address, "/whoami")).status)

        nursery.start_soon(ask)
        for number, text in enumerate(steps):
            if number % 2:
                await trio.sleep(0.2)
            running.write(text)
            try:
                answer = await running.orders.reread_configuration()
            except PoolNotStarted:
                assert "nothing" in text
                continue
            for rollout in answer.rollouts:
                await running.orders.wait_rollout(rollout.id)
                assert rollout.outcome is Outcome.DONE
        nursery.cancel_scope.cancel()
        assert list(running.parts.pools) == ["site"]
    assert len(statuses) > 20
    assert set(statuses) == {200}
