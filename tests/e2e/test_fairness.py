"""What one client takes is not taken from the others: nobody waits for a flood, a torrent, or a disk that stands still.

A bystander asks for a little all the time, and has a backend to itself. Beside a glutton what it waits for is counted
in processor time of the proxy, which is what the proxy did for others meanwhile: on a small machine the glutton itself
keeps everybody waiting for a processor, which is no doing of the proxy's. That is an upper bound, for the proxy goes on
with the others while the bystander or its backend waits for a processor; the clock without such waits is another, and
the lower one counts. How fast a processor is differs by the hour on a shared machine, so its seconds are counted as
those that the same work takes on a machine of a known speed (`NOMINAL`).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import statistics
import sys
import termios
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
import trio

from tests.support.bystander import NOMINAL
from tests.support.bystanders import Bystander, delays_of, run_bystander, run_program, run_torrent, wait_line
from tests.support.glutton import HTTP2, HTTP2_PIECES, KINDS
from tests.support.hotswap import Hotswap, run_hotswap
from tests.support.metronome import Waits, run_metronome
from tests.support.pools import command_pool, table

pytestmark = [pytest.mark.alone, pytest.mark.fail_after(60)]

USUAL = 0.010
"""Seconds of a nominal machine's processor time that the proxy may work for others while nine of ten answers are waited
for. A hundred requests with one packet are sent on their way, and answered, before who comes behind them."""
LONGEST = 0.030
"""The same for any of the answers; a busy host makes a processor slow at times."""
MARGIN = 0.005
"""Seconds that nine of ten answers may come later, while the disk of the log stands still."""
API_MARGIN = 0.05
"""Seconds that half of the answers of the admin API may come later, at full load."""
API_LATEST = 0.25
"""Seconds that any of them may come later: the last few of twenty tell more of chance than of the proxy."""


@asynccontextmanager
async def _glutton(kind: str, port: int) -> AsyncIterator[trio.Process]:
    async with run_program("tests.support.glutton", kind, str(port)) as process:
        await wait_line(process, b"begun\n")
        yield process
        assert process.poll() is None, f"{kind} ended with {process.returncode}"


def _configuration(backend: Path | None, quiet: Path | None = None, **proxy: object) -> str:
    """One pool for the host "a", and one for the host "b" when there is a quiet backend."""
    settings = {"state_dir": "state", "log_format": "json", "access_log": "access.log", **proxy}
    return (
        table("proxy", settings)
        + table("listeners.public", {"bind": ["127.0.0.1:0"], "limits": {"requests_per_connection": 0}})
        + '[[routes]]\nhosts = ["a"]\npool = "web"\n'
        + (table("pools.web", {"addresses": [f"unix:{backend}"]}) if backend else "")
        + ('[[routes]]\nhosts = ["b"]\npool = "quiet"\n' if quiet else "")
        + (table("pools.quiet", {"addresses": [f"unix:{quiet}"]}) if quiet else "")
    )


async def _port(hotswap: Hotswap) -> int:
    address = (await hotswap.target()).address
    assert isinstance(address, tuple)
    return address[1]


def _most(values: Sequence[float]) -> float:
    """What nine of ten take at most."""
    return statistics.quantiles(values, n=10)[-1]


async def test_nobody_waits_for_a_glutton(tmp_path):
    """Floods of requests and streams, and bodies without end, whole and in pieces, up and down."""
    seen: dict[str, list[float]] = {}
    speeds: dict[str, float] = {}
    torrent, quiet = tmp_path / "torrent.sock", tmp_path / "quiet.sock"
    async with (
        run_torrent(torrent),
        run_torrent(quiet) as backend,
        run_hotswap(_configuration(torrent, quiet), tmp_path) as hotswap,
    ):
        port = await _port(hotswap)
        async with (
            run_bystander("b", port, hotswap.pid) as bystander,
            run_metronome([backend.pid, bystander.process.pid]) as waits,
        ):
            for kind in (*KINDS, HTTP2, *HTTP2_PIECES):
                async with _glutton(kind, port):
                    answers = await bystander.next()
                speeds[kind] = speed = NOMINAL / statistics.median(answer.work for answer in answers)
                seen[kind] = [min(answer.used, delay) * speed for answer, delay in await delays_of(answers, waits)]
    told = "".join(
        f"\n{_most(used) * 1000:6.1f} {max(used) * 1000:6.1f} ms  {kind}, at {speeds[kind]:.2f} of the nominal speed"
        for kind, used in seen.items()
    )
    print(told)
    assert max(map(_most, seen.values())) < USUAL, told
    assert max(map(max, seen.values())) < LONGEST, told


async def test_nobody_waits_for_the_disk_of_the_log(tmp_path):
    """The access log is a pipe that nobody reads for a while; afterwards every line is there."""
    log = tmp_path / "access.fifo"
    os.mkfifo(log)
    reader = os.open(log, os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4096)
    written = bytearray()
    async with (
        run_torrent(tmp_path / "torrent.sock") as backend,
        run_hotswap(_configuration(tmp_path / "torrent.sock", access_log=str(log)), tmp_path) as hotswap,
    ):
        async with (
            run_bystander("a", await _port(hotswap), hotswap.pid) as bystander,
            run_metronome([hotswap.pid, backend.pid, bystander.process.pid]) as waits,
        ):
            async with _reading(reader, written):
                steady = await _delay(bystander, waits)
            unread = await _stall(bystander, reader)
            stalled = await _delay(bystander, waits)
            assert _unread(reader) == unread, "the log was written on"
            asked = len(bystander.answers)
        async with _reading(reader, written):
            while written.count(b"/bystander") < asked:
                await trio.sleep(0.01)
            await hotswap.stop()
    os.close(reader)
    assert stalled < steady + MARGIN, f"{stalled * 1000:.2f} ms, {steady * 1000:.2f} ms before"
    assert not hotswap.written("access_log.dropped")


async def _stall(bystander: Bystander, reader: int) -> int:
    """Wait until the log stands still: answers go on, and no line comes any more, since the next ones have no room.

    Returns:
        Bytes that wait in the pipe.
    """
    unread = 0
    while True:
        await bystander.next(seconds=0.1, least=30)
        before, unread = unread, _unread(reader)
        if before == unread > 0:
            return unread


async def _delay(bystander: Bystander, waits: Waits) -> float:
    """What nine of the next ten answers take at most, in seconds, without waits for a processor."""
    answers = await bystander.next(seconds=0.7, least=30)
    return _most([delay for _, delay in await delays_of(answers, waits)])


@asynccontextmanager
async def _reading(descriptor: int, into: bytearray) -> AsyncIterator[None]:
    async def read() -> None:
        while True:
            await trio.lowlevel.wait_readable(descriptor)
            with contextlib.suppress(BlockingIOError):
                if data := os.read(descriptor, 65536):
                    into.extend(data)
                else:
                    return  # nobody writes any more

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        yield
        nursery.cancel_scope.cancel()


def _unread(descriptor: int) -> int:
    """Bytes that wait in a pipe."""
    return int.from_bytes(fcntl.ioctl(descriptor, termios.FIONREAD, bytes(4)), sys.byteorder)


async def test_rollouts_probes_and_the_admin_api_keep_their_deadlines_at_full_load(tmp_path):
    """Beside three gluttons: the API answers soon, no probe is late, a rollout is done as always."""
    # A new backend answers no probe before it has booted, which takes its time at full load.
    pool = command_pool(tmp_path, "tests.support.torrent", health={"interval": "100ms", "timeout": "5s"})
    async with run_hotswap(_configuration(None) + pool, tmp_path) as hotswap:
        port = await _port(hotswap)
        backends = [backend["pid"] for backend in await hotswap.backends()]
        async with run_metronome([hotswap.pid, *backends]) as waits:
            steady = await _admin_delays(hotswap, waits)
            async with AsyncExitStack() as gluttons:
                for kind in ("pipelined", "pipelined, no route", HTTP2):  # none that would keep a backend from its end
                    await gluttons.enter_async_context(_glutton(kind, port))
                before = await _probes(hotswap)
                began = trio.current_time()
                loaded = await _admin_delays(hotswap, waits)
                rollout = await hotswap.rollout()
                passed = trio.current_time() - began
                after = await _probes(hotswap)
    told = [
        f"{delay * 1000:.1f} ms" for delays in (steady, loaded) for delay in (statistics.median(delays), max(delays))
    ]
    print(
        f"half of the answers within {told[0]}, all within {told[1]}; at full load {told[2]} and {told[3]}",
        before,
        after,
    )
    assert statistics.median(loaded) < statistics.median(steady) + API_MARGIN, told
    assert max(loaded) < max(steady) + API_LATEST, told
    assert rollout["outcome"] == "done", rollout
    assert after["fail"] == before["fail"]
    assert after["pass"] - before["pass"] > passed / 0.2, (before, after, passed)


async def _admin_delays(hotswap: Hotswap, waits: Waits, count: int = 20) -> list[float]:
    asked = []
    for _ in range(count):
        began = trio.current_time()
        await hotswap.status()
        asked.append((began, trio.current_time()))
    await trio.sleep(0.03)
    return sorted(max(0.0, ended - began - waits.within(began, ended)) for began, ended in asked)


async def _probes(hotswap: Hotswap) -> Counter[str]:
    pattern = r'^hotswap_health_checks_total\{pool="web",result="(\w+)"\} ([\d.e+]+)$'
    found = re.findall(pattern, await hotswap.admin.metrics(), re.MULTILINE)
    return Counter({result: int(float(count)) for result, count in found})
