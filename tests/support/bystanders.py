"""A bystander to somebody else's load: what it waits for, told apart from what the machine keeps everybody waiting for.

`run_bystander` starts the client of `tests.support.bystander` as a process and collects its answers; `run_torrent`
starts the backend that answers it; `delays_of` takes the waits for a processor out of what the answers took.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio

from tests.support.metronome import Waits

SECONDS = 1.0
"""How long each load is looked at."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer to the bystander.

    Attributes:
        began: when it was asked for, by the monotonic clock.
        seconds: that it took.
        used: seconds of processor time that the proxy worked meanwhile.
        work: seconds of processor time that a piece of work took then, which is always the same.
    """

    began: float
    seconds: float
    used: float
    work: float


@dataclass(slots=True)
class Bystander:
    """A client that is in nobody's way."""

    process: trio.Process
    answers: list[Answer] = field(default_factory=list)
    more: trio.Event = field(default_factory=trio.Event)

    async def next(self, *, seconds: float = SECONDS, least: int = 5) -> list[Answer]:
        """The answers to what it asks from now on: those of some seconds, and so many at least."""
        first = len(self.answers) + 1  # one is under way
        until = time.monotonic() + seconds
        while len(self.answers) < first + least or self.answers[-1].began < until:
            await self.more.wait()
        return self.answers[first:]


@asynccontextmanager
async def run_program(*arguments: str) -> AsyncIterator[trio.Process]:
    """Run a module of Python's until the block ends."""
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    )
    try:
        yield process
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


async def wait_line(process: trio.Process, line: bytes) -> None:
    """Wait until it has said so."""
    assert process.stdout is not None
    said = b""
    while not said.endswith(b"\n") and (more := await process.stdout.receive_some()):
        said += more
    assert said == line


@asynccontextmanager
async def run_torrent(path: Path) -> AsyncIterator[trio.Process]:
    async with run_program("tests.support.torrent", str(path)) as process:
        await wait_line(process, b"listening\n")
        yield process


@asynccontextmanager
async def run_bystander(host: str, port: int, proxy: int) -> AsyncIterator[Bystander]:
    async with (
        run_program("tests.support.bystander", host, str(port), str(proxy)) as process,
        trio.open_nursery() as nursery,
    ):
        bystander = Bystander(process)
        nursery.start_soon(_note, bystander)
        yield bystander
        nursery.cancel_scope.cancel()


async def _note(bystander: Bystander) -> None:
    assert bystander.process.stdout is not None
    rest = b""
    async for data in bystander.process.stdout:
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            bystander.answers.append(Answer(*map(float, line.split())))
        bystander.more.set()
        bystander.more = trio.Event()
    raise AssertionError("the bystander was not served, and has ended")


async def delays_of(answers: Sequence[Answer], waits: Waits) -> list[tuple[Answer, float]]:
    """Each answer with the seconds that it took, those left out in which somebody waited for a processor."""
    await trio.sleep(0.03)  # the metronome has to have seen the last of them
    offset = trio.current_time() - time.monotonic()
    return [
        (answer, answer.seconds - waits.within(answer.began + offset, answer.began + offset + answer.seconds))
        for answer in answers
    ]
