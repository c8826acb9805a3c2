"""A process of a takeover that stands still: nobody waits for it longer than the deadline of the step.

A process that was stopped (SIGSTOP) lives, so no pidfd tells of it, and its sockets stay open. The deadlines are
shortened here for those steps that are waited for.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import trio

from tests.support.chain import Chain, run_chain
from tests.support.clients import SHORT_KINDS
from tests.support.hotswap import wait_gone
from tests.support.load import run_load
from tests.support.pools import command_pool, demo_pool, listeners


def stopped(pid: int) -> bool:
    """Whether a process stands still by a signal."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] == "T"
    except OSError:
        return False


async def wait_stopped(pid: int) -> None:
    """Block until a process stands still."""
    while not stopped(pid):
        await trio.sleep(0.01)


def below(directory: Path, number: int) -> Path:
    """A directory for one of several cases."""
    found = directory / str(number)
    found.mkdir()
    return found


@pytest.mark.fail_after(90)
async def test_a_new_process_that_stands_still_is_ended_at_the_deadline_of_the_step(tmp_path: Path) -> None:
    """In each state; nothing has changed for anybody, and it has been killed."""
    steps = {
        "greeting": "greeting",
        "listeners": "listeners",
        "backends": "state",
        "preparing": "preparing",
        "prepared": "preparing",
        "probation": "committed",
    }
    limits = "listeners=2 state=2 backends=2 preparing=3 changes=2 committed=2"

    async def case(directory: Path, places: list[str], more: str = "") -> None:
        environment = {"HOTSWAP_DEADLINES": limits + more}
        async with run_chain(listeners() + demo_pool(directory), directory, environment=environment) as chain:
            old, backends = await chain.serving(), await chain.backends()
            async with run_load({"plain": await chain.hotswap.target()}, kinds=SHORT_KINDS) as load:
                for place in places:
                    # Only the old side is in a hurry.
                    executable = chain.script(
                        f"stop-at-{place}", "unset HOTSWAP_DEADLINES", f"export HOTSWAP_FAULT=new:{place}=stop"
                    )
                    problem = await chain.fail_over(executable=executable)
                    assert problem["code"] == "takeover-failed", problem
                    assert problem["state"]["step"] == steps[place], problem
                    assert f"the time for {steps[place]} is over" in problem["detail"], problem
                    assert chain.processes() == [old]
                    assert (await chain.serving(), await chain.backends()) == (old, backends)
                await load.wait_turns(2)
            load.assert_unharmed()
            load.assert_ledger(directory / "notes.sqlite3")
            assert (await chain.hotswap.rollout())["generation"] == 2

    async with trio.open_nursery() as nursery:
        # A process that starts on a busy machine needs more than that, so the limit is for one case only.
        nursery.start_soon(case, below(tmp_path, 1), ["greeting"], " greeting=4")
        nursery.start_soon(case, below(tmp_path, 2), list(steps)[1:])


@pytest.mark.fail_after(90)
async def test_an_old_process_that_stands_still_is_not_waited_for_by_the_new_one(tmp_path: Path) -> None:
    """Before the commit the new one leaves, and when the old one goes on it serves whoever has come meanwhile."""
    limits = "greeting=1.5 listeners=1.5 backends=1.5 prepared=1.5"

    async def case(directory: Path, places: list[str]) -> None:
        environment = {"HOTSWAP_FAULT": " ".join(f"old:{place}=stop" for place in places)}
        async with run_chain(listeners() + demo_pool(directory), directory, environment=environment) as chain:
            old, backends = await chain.serving(), await chain.backends()
            hurried = chain.script("hurried", f"export HOTSWAP_DEADLINES='{limits}'", "unset HOTSWAP_FAULT")
            async with run_load({"plain": await chain.hotswap.target()}, kinds=SHORT_KINDS) as load:
                for place in places:
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(continue_without_successor, chain, old)
                        problem = await chain.fail_over(executable=hurried)
                    assert problem["code"] == "takeover-failed", (place, problem)
                    assert (await chain.serving(), await chain.backends()) == (old, backends), place
                await load.wait_turns(2)
            load.assert_unharmed()
            load.assert_ledger(directory / "notes.sqlite3")
            assert (await chain.hotswap.rollout())["generation"] == 2

    async with trio.open_nursery() as nursery:
        nursery.start_soon(case, below(tmp_path, 1), ["listeners", "backends", "changes"])
        # What waits to be read when it goes on takes it from one of these to the next, so they are in three cases.
        nursery.start_soon(case, below(tmp_path, 2), ["state", "committed"])
        nursery.start_soon(case, below(tmp_path, 3), ["preparing"])


async def continue_without_successor(chain: Chain, old: int) -> None:
    """Let a process that stands still go on once the new one has given up waiting for it."""
    await wait_stopped(old)
    while chain.processes() != [old]:
        await trio.sleep(0.02)
    os.kill(old, signal.SIGCONT)


@pytest.mark.fail_after(90)
@pytest.mark.parametrize("place", ["probation", "draining"])
async def test_an_old_process_that_stands_still_after_the_commit_is_done_without(tmp_path: Path, place: str) -> None:
    """The new one serves, becomes owner by its own clock, and rolls its pool; the old one ends when it goes on."""
    environment = {"HOTSWAP_FAULT": f"old:{place}=stop"}
    pool = command_pool(tmp_path, "faulty.plain") + 'drain_timeout = "1s"\n'
    async with run_chain(listeners() + pool, tmp_path, environment=environment) as chain:
        old, backends = await chain.serving(), await chain.backends()
        executable = chain.script("hurried", "export HOTSWAP_DEADLINES='probation=1'", "unset HOTSWAP_FAULT")
        answers = []

        async def order() -> None:
            answers.append((await chain.order(executable=executable)).status)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(order)
            await wait_stopped(old)
            # Both have the socket of the admin API, and only one of them can answer.
            with trio.fail_after(20):
                while await chain.serving() == old:
                    await trio.sleep(0.02)
            for _ in range(5):
                (await chain.hotswap.fetch("/whoami")).expect()
            assert await chain.backends() == backends
            await chain.hotswap.wait_line("takeover.done")
            assert stopped(old)
            assert (await chain.hotswap.rollout())["outcome"] == "done"
            os.kill(old, signal.SIGCONT)
        assert answers == [200]
        await chain.wait_alone()
        await wait_gone(old)
