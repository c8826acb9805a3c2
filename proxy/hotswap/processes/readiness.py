"""Readiness of a new backend: waits until it is ready, or tells why it will not be.

A backend is ready when it said so (where `ready = "notify"`) and then answered the health check
`healthy_after` times in a row. That a connect succeeds proves nothing: the proxy listened before the backend
existed. It failed when its process ended, when it reported that it cannot serve, or when `start_timeout` was
over; then the reason tells a backend that never answered (`timed-out`) from one that answered, but not as
expected (`unhealthy`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import trio

from hotswap.core.errors import StartFailed, StartFailure
from hotswap.core.pool.health import ProbeResult
from hotswap.core.pool.last_error import error_line, exit_words
from hotswap.processes.exit_status import Exit
from hotswap.processes.own_time import cancel_after_own_time

Probe = Callable[[], Awaitable[ProbeResult]]
"""One health check with a deadline of its own; never raises."""

_FIRST_PAUSE: Final = 0.05
_PAUSE_GROWTH: Final = 1.5
"""Seconds between the first two probes, and by what it grows: a fast backend is noticed at once, a slow one
is not kept busy with probes."""


class StartingProcess(Protocol):
    """A starting process, as the wait sees it."""

    async def wait_exit(self) -> Exit:
        """Block until it is gone, and give how it ended."""

    async def wait_notified(self) -> None:
        """Block until it sent `READY=1`; returns at once when it need not."""

    async def wait_cannot_serve(self) -> str:
        """Block until it sent `ERRNO=`, and give that in words."""

    def cannot_serve(self) -> str | None:
        """What `wait_cannot_serve` gives, or None when it did not send it so far."""

    def output_lines(self) -> tuple[str, ...]:
        """The last lines it wrote."""


async def wait_ready(
    process: StartingProcess,
    probe: Probe,
    *,
    start_timeout: float,
    interval: float,
    healthy_after: int,
) -> None:
    """Block until a new backend is ready.

    Args:
        process: the backend, whose `serve` runs.
        probe: the health check.
        start_timeout: seconds from now until it must be ready, those in which the proxy stood still not counted.
        interval: seconds between probes, once the quick ones at the beginning are over.
        healthy_after: probes that must pass in a row.

    Raises:
        StartFailed: it did not become ready. The process is left as it is: killing it is the caller's.

    **Cancellation**: the process is left as it is.
    """
    failure: StartFailed | None = None
    last: ProbeResult | None = None
    notified = ready = False

    def fail(reason: StartFailure, detail: str) -> None:
        nonlocal failure
        failure = failure or StartFailed(reason, detail, process.output_lines())
        attempt.cancel()

    async def watch_exit() -> None:
        ended = await process.wait_exit()
        # What a backend said of itself tells more than its exit code.
        if (reported := process.cannot_serve()) is not None:
            fail(StartFailure.CANNOT_SERVE, f"it cannot serve: {reported}")
        fail(StartFailure.EXITED, exit_words(code=ended.code, number=ended.signal, output=process.output_lines()))

    async def watch_error() -> None:
        fail(StartFailure.CANNOT_SERVE, f"it cannot serve: {await process.wait_cannot_serve()}")

    with trio.CancelScope() as attempt:
        async with trio.open_nursery() as nursery:
            # Not a deadline: when the proxy itself stood still, the backend may have kept its time.
            nursery.start_soon(cancel_after_own_time, attempt, start_timeout)
            nursery.start_soon(watch_error)
            nursery.start_soon(watch_exit)
            await process.wait_notified()
            notified = True
            pause = min(_FIRST_PAUSE, interval)
            passes = 0
            while True:
                result = await probe()
                # An answer that is not the expected one explains more than the silence after it.
                if result.status is not None or last is None or last.status is None:
                    last = result
                passes = passes + 1 if result.ok else 0
                if passes >= healthy_after:
                    break
                await trio.sleep(pause)
                pause = min(pause * _PAUSE_GROWTH, interval)
            ready = True
            nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
    if not ready:
        raise _too_late(start_timeout, notified, last, process.output_lines())


def _too_late(start_timeout: float, notified: bool, last: ProbeResult | None, output: tuple[str, ...]) -> StartFailed:
    reason, words = StartFailure.TIMED_OUT, "no answer to the health check"
    if not notified:
        words = "no READY=1"
    elif last is not None and last.ok:
        words = "too few health checks passed"
    elif last is not None and last.status is not None:
        reason, words = StartFailure.UNHEALTHY, "not healthy"
    words += f" within {start_timeout:g} s"
    if last is not None and not last.ok:
        words += f"; last probe: {last.detail}"
    line = error_line(output, any_line=False)
    return StartFailed(reason, f"{words}; it wrote: {line}" if line else words, output)
