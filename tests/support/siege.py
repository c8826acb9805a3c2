"""The siege: what one hostile client costs everybody else, for each way of `tests.support.attacker`.

`python -m tests.support.siege [--seconds 60] [KIND…]` prints a line for each: p99 of a bystander's answers in quiet and
during the attack (without the waits for a processor that the machine imposed), the processor time that the proxy took
for others while nine of ten were waited for, and the proxy's memory before and after. The bystander has
a backend to itself. The soft limit of open files is 1,024, as an ordinary shell gives it.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from tests.support.attacker import CROWDS, KINDS, TLS_KINDS
from tests.support.bystander import NOMINAL
from tests.support.bystanders import Answer, Bystander, delays_of, run_bystander, run_program, run_torrent, wait_line
from tests.support.hotswap import Hotswap, run_hotswap
from tests.support.metronome import Waits, run_metronome
from tests.support.pools import table

SOFT_LIMIT = 1024
"""Open files that the proxy may have until it raises its limit."""
_LIMITED = f"""
import os, resource, sys
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, ({SOFT_LIMIT}, hard))
os.execv(sys.argv[1], sys.argv[1:])
"""
SETTLING = 12.0
"""Seconds that what an attack has left behind may stay: the timeouts of the configuration are shorter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What an attack cost.

    Attributes:
        kind: the attack.
        quiet: seconds, p99 of the bystander's answers before.
        delay: the same during the attack.
        used: seconds of the proxy's processor time, on a nominal machine, within nine of ten answers.
        before: MiB of memory of the proxy before.
        after: the same when everything that the attack left must be gone.
        connections: of the listeners, at the end, besides the bystander's.
    """

    kind: str
    quiet: float
    delay: float
    used: float
    before: float
    after: float
    connections: int

    def __str__(self) -> str:
        return (
            f"{self.kind:30} p99 {self.quiet * 1000:6.2f} ms quiet, {self.delay * 1000:6.2f} under attack "
            f"({self.delay / self.quiet:5.2f}), {self.used * 1000:6.2f} ms of work, "
            f"{self.before:6.1f} MiB before, {self.after:6.1f} after, {self.connections} connections left"
        )


def configuration(attacked: Path, quiet: Path) -> str:
    """One pool for the host "a" that is attacked, one for the host "b" of the bystander; short timeouts."""
    limits = {"requests_per_connection": 0, "header_timeout": "3s", "idle_timeout": "5s"}
    return (
        table("proxy", {"state_dir": "state", "log_format": "json", "access_log": "access.log"})
        + table("listeners.public", {"bind": ["127.0.0.1:0"], "limits": limits})
        + table("listeners.secure", {"bind": ["127.0.0.1:0"], "tls": {"self_signed": ["localhost"]}, "limits": limits})
        + '[[routes]]\nhosts = ["a"]\npool = "web"\n'
        + table("pools.web", {"addresses": [f"unix:{attacked}"]})
        + '[[routes]]\nhosts = ["b"]\npool = "quiet"\n'
        + table("pools.quiet", {"addresses": [f"unix:{quiet}"]})
    )


def p99(values: Sequence[float]) -> float:
    """What ninety-nine of a hundred take at most."""
    return statistics.quantiles(values, n=100)[-1]


def memory(pid: int) -> float:
    """MiB of physical memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError(f"process {pid} has no memory")


class Siege:
    """A proxy with a bystander, to be attacked."""

    def __init__(self, hotswap: Hotswap, bystander: Bystander, waits: Waits, *, quiet: float) -> None:
        self.quiet = quiet
        self._hotswap = hotswap
        self._bystander = bystander
        self._waits = waits

    async def attack(self, kind: str, *, seconds: float, settling: float = SETTLING) -> Price:
        """Attack for so long, then wait until what it left must be gone."""
        before = memory(self._hotswap.pid)
        port = await self._port("secure" if kind in TLS_KINDS else "public")
        async with run_program("tests.support.attacker", kind, str(port)) as attacker:
            await wait_line(attacker, b"begun\n")
            answers = await self._bystander.next(seconds=seconds, least=20)
        speed = NOMINAL / statistics.median(answer.work for answer in answers)
        pairs = await delays_of(answers, self._waits)
        with trio.move_on_after(settling):
            while await self._connections() > 0 or memory(self._hotswap.pid) > before + 1:
                await trio.sleep(0.2)
        return Price(
            kind=kind,
            quiet=self.quiet,
            delay=p99([delay for _, delay in pairs]),
            used=statistics.quantiles([min(answer.used, delay) for answer, delay in pairs], n=10)[-1] * speed,
            before=before,
            after=memory(self._hotswap.pid),
            connections=await self._connections(),
        )

    async def _port(self, listener: str) -> int:
        address = (await self._hotswap.target(listener)).address
        assert isinstance(address, tuple)
        return address[1]

    async def _connections(self) -> int:
        listeners = (await self._hotswap.status())["listeners"]
        return sum(listener["connections"] for listener in listeners.values()) - 1


@asynccontextmanager
async def open_siege(directory: Path, *, seconds: float) -> AsyncIterator[Siege]:
    """Start a proxy, its backends and a bystander, and look at the quiet for so long."""
    attacked, quiet = directory / "attacked.sock", directory / "quiet.sock"
    launcher = [sys.executable, "-c", _LIMITED]
    async with (
        run_torrent(attacked),
        run_torrent(quiet) as backend,
        run_hotswap(configuration(attacked, quiet), directory, launcher=launcher) as hotswap,
    ):
        address = (await hotswap.target()).address
        assert isinstance(address, tuple)
        async with (
            run_bystander("b", address[1], hotswap.pid) as bystander,
            run_metronome([backend.pid, bystander.process.pid]) as waits,
        ):
            await bystander.next(seconds=min(1.0, seconds))
            answers: list[Answer] = await bystander.next(seconds=seconds, least=200)
            steady = p99([delay for _, delay in await delays_of(answers, waits)])
            yield Siege(hotswap, bystander, waits, quiet=steady)


async def _run(kinds: Sequence[str], seconds: float) -> None:
    with tempfile.TemporaryDirectory(prefix="siege-") as folder:
        async with open_siege(Path(folder), seconds=min(seconds, 10)) as siege:
            for kind in kinds:
                print(await siege.attack(kind, seconds=seconds), flush=True)


def main() -> None:
    """Attack in each way that the command line names, or in all."""
    every = {**KINDS, **TLS_KINDS, **CROWDS}
    parser = argparse.ArgumentParser(description="what one hostile client costs everybody else")
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=", ".join(every))
    parser.add_argument("--seconds", type=float, default=60.0, help="how long each attack lasts")
    options = parser.parse_args()
    for kind in options.kinds:
        if kind not in every:
            parser.error(f"{kind!r} is not one of {', '.join(every)}")
    began = time.monotonic()
    trio.run(_run, options.kinds or list(every), options.seconds)
    print(f"{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
