"""A program with a terminal before it, which a test reads and types at while it runs."""

from __future__ import annotations

import fcntl
import os
import re
import struct
import sys
import termios
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from tests.support.command_line import environment

SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
"""A control sequence (ECMA-48 5.4)."""

LAUNCHER = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execvp(sys.argv[1], sys.argv[1:])"
"""Becomes a program whose session the terminal controls, so that Ctrl-C is a signal to it."""


class Terminal:
    """What a program that runs on a terminal has shown so far.

    Attributes:
        process: the program; the terminal controls its session.
        shown: all that it wrote, as it came.
    """

    def __init__(self, process: trio.Process, ours: int) -> None:
        self.process = process
        self.shown = ""
        self._ours = ours
        self._more = trio.Event()

    @property
    def text(self) -> str:
        """What it wrote without colours and other control sequences."""
        return SEQUENCE.sub("", self.shown).replace("\r\n", "\n")

    @property
    def lines(self) -> list[str]:
        """The same by lines."""
        return self.text.split("\n")

    async def wait_text(self, text: str) -> str:
        """Block until it has written this, and give everything."""
        while text not in self.text:
            await self._more.wait()
        return self.text

    def type(self, keys: str) -> None:
        r"""Press keys; `\x03` is Ctrl-C."""
        os.write(self._ours, keys.encode())

    async def read(self) -> None:
        """Take in what it writes until it has gone."""
        decoder = bytearray()
        while True:
            await trio.lowlevel.wait_readable(self._ours)
            try:
                chunk = os.read(self._ours, 65536)
            except OSError:  # Linux says EIO when the other side is gone
                chunk = b""
            decoder += chunk
            self.shown = decoder.decode("utf-8", "replace")
            self._more.set()
            self._more = trio.Event()
            if not chunk:
                return


@asynccontextmanager
async def open_terminal(
    command: Sequence[str],
    *,
    columns: int = 120,
    directory: Path | None = None,
    variables: Mapping[str, str] | None = None,
) -> AsyncIterator[Terminal]:
    """Run a program on a terminal of so many columns for the time of the block; it is killed if it is there after."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    env = environment(TERM="xterm-256color", **(variables or {}))
    for name in {"COLUMNS", "LINES", "NO_COLOR"} - set(variables or {}):
        env.pop(name, None)
    process = await trio.lowlevel.open_process(
        [sys.executable, "-c", LAUNCHER, *command],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=env,
        cwd=directory,
        start_new_session=True,
    )
    os.close(theirs)
    terminal = Terminal(process, ours)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(terminal.read)
            yield terminal
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
        os.close(ours)
