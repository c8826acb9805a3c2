"""Time that passes while this process runs."""

from __future__ import annotations

import trio
import trio.testing

from hotswap.processes.own_time import SLICE, cancel_after_own_time, sleep_own_time


async def test_a_sleep_takes_its_time(autojump_clock):
    """When nothing stalls."""
    began = trio.current_time()
    await sleep_own_time(10.3)
    assert trio.current_time() - began == 10.3


async def test_of_a_stall_one_slice_counts(mock_clock):
    """However long it was."""
    done = trio.Event()

    async def sleep() -> None:
        await sleep_own_time(3 * SLICE)
        done.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(sleep)
        for _ in range(3):
            await trio.testing.wait_all_tasks_blocked()
            assert not done.is_set()
            mock_clock.jump(10 * SLICE)
        await done.wait()


async def test_something_is_cancelled_after_it(autojump_clock):
    """Whoever has the scope goes on."""
    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            nursery.start_soon(cancel_after_own_time, scope, 5.0)
            await trio.sleep_forever()
        assert trio.current_time() == 5.0
