"""Runs the command line as its users do: in this process, or as a program of its own, also on a terminal."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import trio
from click.testing import CliRunner

from hotswap.cli.group import hotswap
from tests.support.hotswap import SOURCES


@dataclass(frozen=True, kw_only=True)
class Result:
    """How a command ended.

    Attributes:
        code: its exit code.
        stdout: the data.
        stderr: everything else.
    """

    code: int
    stdout: str
    stderr: str

    @property
    def document(self) -> Any:
        """The data as JSON."""
        return json.loads(self.stdout)


def run_cli(*arguments: str, environ: Mapping[str, str | None] | None = None) -> Result:
    """Run a command in this process, without a terminal; it must not be that of another test at the same time."""
    names = ("HOTSWAP_ADMIN", "HOTSWAP_ADMIN_TOKEN_FILE", "VIRTUAL_ENV", "CONDA_PREFIX")
    clean = {**dict.fromkeys(names), **(environ or {})}
    result = CliRunner().invoke(hotswap, arguments, env=clean, prog_name="hotswap")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Result(code=result.exit_code, stdout=result.stdout, stderr=result.stderr)


async def cli(*arguments: str, environ: Mapping[str, str | None] | None = None) -> Result:
    """Run a command in a thread, so that what it speaks to can answer meanwhile."""
    return await trio.to_thread.run_sync(partial(run_cli, *arguments, environ=environ), abandon_on_cancel=True)


def environment(**changes: str) -> dict[str, str]:
    """Give the variables for a command of its own."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HOTSWAP_")}
    return {**kept, "PYTHONPATH": SOURCES, "PYTHONDONTWRITEBYTECODE": "1", **changes}


def command(*arguments: str) -> list[str]:
    """Give the command line of a program of its own."""
    return [sys.executable, "-m", "hotswap", *arguments]


async def program(*arguments: str, directory: Path | None = None, **changes: str) -> Result:
    """Run a command as a program of its own, without a terminal."""
    done = await trio.run_process(  # a stranger that may well be killed when the test ends
        command(*arguments),
        capture_stdout=True,
        capture_stderr=True,
        check=False,
        cwd=directory,
        env=environment(**changes),
    )
    return Result(code=done.returncode, stdout=done.stdout.decode(), stderr=done.stderr.decode())


async def on_terminal(*arguments: str, typed: str = "", **changes: str) -> tuple[int, str]:
    """Run a command with a terminal before it, at which `typed` was typed already.

    Gives its exit code and what the terminal was sent.
    """
    ours, theirs = os.openpty()
    os.write(ours, typed.encode())
    variables = environment(**{"TERM": "xterm-256color", "COLUMNS": "120", "LINES": "40", **changes})
    variables.pop("NO_COLOR", None)
    process = await trio.lowlevel.open_process(
        command(*arguments), stdin=theirs, stdout=theirs, stderr=theirs, env=variables, start_new_session=True
    )
    os.close(theirs)
    shown = bytearray()

    def read() -> None:
        while True:
            try:
                chunk = os.read(ours, 65536)
            except OSError:  # Linux says EIO when the other side is gone
                return
            if not chunk:
                return
            shown.extend(chunk)

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, read)
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
        os.close(ours)
    return process.returncode or 0, shown.decode()


__all__ = ["Result", "cli", "command", "environment", "on_terminal", "program", "run_cli"]
