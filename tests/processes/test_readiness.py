"""The wait for a new backend, in virtual time."""

from __future__ import annotations

import math

import pytest
import trio

from hotswap.core.errors import StartFailed, StartFailure
from hotswap.core.pool.health import ProbeResult
from hotswap.processes.exit_status import Exit
from hotswap.processes.readiness import wait_ready

GOOD = ProbeResult(ok=True, status=200)
BAD = ProbeResult(ok=False, status=500, detail="status 500, expected 200-399")
SILENT = ProbeResult(ok=False, detail="no answer within 1 s")


class Process:
    """A process that ends, becomes ready or gives up at times known beforehand, in seconds from now."""

    def __init__(self, *, exits=None, notifies=0.0, gives_up=None):
        self.exits, self.notifies, self.gives_up = exits, notifies, gives_up
        self.began = trio.current_time()

    async def _wait_until(self, seconds):
        await trio.sleep_until(math.inf if seconds is None else self.began + seconds)

    async def wait_exit(self):
        """It ends at `exits`."""
        await self._wait_until(self.exits)
        return Exit(code=1)

    async def wait_notified(self):
        """It says READY=1 at `notifies`."""
        await self._wait_until(self.notifies)

    async def wait_cannot_serve(self):
        """It says ERRNO at `gives_up`."""
        await self._wait_until(self.gives_up)
        return "Address already in use"

    def cannot_serve(self):
        """What it said by now."""
        said = self.gives_up is not None and trio.current_time() - self.began >= self.gives_up
        return "Address already in use" if said else None

    def output_lines(self):
        """What it wrote."""
        return ("last words",)


class Probes:
    """A health check that gives one answer after the other, the last one for ever; each takes some time."""

    def __init__(self, *answers, seconds=0.0):
        self.answers, self.seconds = list(answers), seconds
        self.times = []

    async def __call__(self):
        """Answer once."""
        self.times.append(trio.current_time())
        await trio.sleep(self.seconds)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


async def wait(process, probes, *, start_timeout=30.0, interval=2.0, healthy_after=1):
    """Wait, and give how many seconds it took."""
    began = trio.current_time()
    await wait_ready(process, probes, start_timeout=start_timeout, interval=interval, healthy_after=healthy_after)
    return trio.current_time() - began


async def test_the_first_pass_is_enough(autojump_clock):
    """With `healthy_after = 1` a passing probe ends the wait at once."""
    assert await wait(Process(), Probes(GOOD)) == 0


async def test_probes_are_quick_at_first_and_slow_down_to_the_interval(autojump_clock):
    """A fast backend is noticed at once, a slow one is not kept busy."""
    probes = Probes(*[SILENT] * 20, GOOD)
    await wait(Process(), probes)
    pauses = [after - before for before, after in zip(probes.times, probes.times[1:], strict=False)]
    assert pauses[0] == pytest.approx(0.05)
    assert pauses == sorted(pauses)
    assert pauses[-1] == pytest.approx(2.0)


async def test_passes_have_to_come_in_a_row(autojump_clock):
    """A failure between two passes starts the count again."""
    probes = Probes(GOOD, GOOD, BAD, GOOD, GOOD, GOOD, BAD)
    await wait(Process(), probes, healthy_after=3)
    assert len(probes.times) == 6


async def test_no_probe_before_the_backend_said_that_it_is_ready(autojump_clock):
    """With `ready = "notify"` the health check starts after READY=1."""
    probes = Probes(GOOD)
    assert await wait(Process(notifies=3.0), probes) == 3.0
    assert len(probes.times) == 1


async def test_an_exit_fails_the_start_at_once(autojump_clock):
    """With how it ended and what it wrote."""
    with pytest.raises(StartFailed) as caught:
        await wait(Process(exits=1.0), Probes(SILENT))
    assert caught.value.reason is StartFailure.EXITED
    assert caught.value.detail.startswith("exited with status 1")
    assert caught.value.output == ("last words",)
    assert trio.current_time() == pytest.approx(1.0)


async def test_an_exit_during_a_probe_does_not_wait_for_the_probe(autojump_clock):
    """The probe has a deadline of its own, far away."""
    began = trio.current_time()
    with pytest.raises(StartFailed) as caught:
        await wait(Process(exits=1.0), Probes(GOOD, seconds=20))
    assert caught.value.reason is StartFailure.EXITED
    assert trio.current_time() - began == pytest.approx(1.0)


async def test_giving_up_fails_the_start_with_its_error(autojump_clock):
    """ERRNO means that waiting is pointless."""
    with pytest.raises(StartFailed) as caught:
        await wait(Process(gives_up=0.5, notifies=None), Probes(SILENT))
    assert caught.value.reason is StartFailure.CANNOT_SERVE
    assert "Address already in use" in caught.value.detail


async def test_giving_up_and_exiting_is_giving_up(autojump_clock):
    """What a backend said tells more than its exit code, whichever is seen first."""
    for _ in range(20):
        with pytest.raises(StartFailed) as caught:
            await wait(Process(gives_up=0.5, exits=0.5), Probes(SILENT))
        assert caught.value.reason is StartFailure.CANNOT_SERVE


async def test_one_that_never_says_ready_is_timed_out(autojump_clock):
    """The detail says what was missing."""
    with pytest.raises(StartFailed, match="no READY=1 within 5 s") as caught:
        await wait(Process(notifies=None), Probes(GOOD), start_timeout=5)
    assert caught.value.reason is StartFailure.TIMED_OUT


async def test_one_that_never_answers_is_timed_out(autojump_clock):
    """With what the last probe found."""
    with pytest.raises(StartFailed, match="no answer within 1 s") as caught:
        await wait(Process(), Probes(SILENT), start_timeout=5)
    assert caught.value.reason is StartFailure.TIMED_OUT
    assert trio.current_time() == pytest.approx(5)


async def test_one_that_says_no_is_unhealthy(autojump_clock):
    """It answered, so the answer is the reason, also when it fell silent afterwards."""
    with pytest.raises(StartFailed, match="status 500") as caught:
        await wait(Process(), Probes(SILENT, BAD, SILENT), start_timeout=5)
    assert caught.value.reason is StartFailure.UNHEALTHY


async def test_one_that_passes_too_seldom_is_timed_out(autojump_clock):
    """The deadline counts from the spawn, not from the first pass."""
    with pytest.raises(StartFailed, match="too few health checks passed") as caught:
        await wait(Process(), Probes(GOOD), start_timeout=5, healthy_after=100)
    assert caught.value.reason is StartFailure.TIMED_OUT


async def test_a_probe_that_hangs_is_ended_by_the_deadline(autojump_clock):
    """Even the first one."""
    with pytest.raises(StartFailed, match="no answer to the health check within 5 s"):
        await wait(Process(), Probes(GOOD, seconds=1000), start_timeout=5)


async def test_time_in_which_the_proxy_stood_still_is_not_counted(autojump_clock):
    """A replacement that was up long ago is asked again, and has the rest of its time."""

    async def stand_still() -> None:
        await trio.sleep(1.2)
        autojump_clock.jump(60)

    probes = Probes(*[SILENT] * 8, GOOD)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stand_still)
        assert await wait(Process(), probes, start_timeout=8.0) > 60
