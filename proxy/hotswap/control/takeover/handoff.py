"""How the new code on disk is asked about itself before it is trusted with a takeover, and how it is started.

The new code is asked on disk, in a process of its own that does nothing else: `hotswap run --handoff-info`
prints one JSON object with its three version numbers and with everything that is wrong with the configuration.
So most takeovers that cannot succeed are refused before anything was started.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import trio

from hotswap.control.takeover.handoff_info import own_handoff_info
from hotswap.core.errors import RefusalCode, Refused, problem_text
from hotswap.core.takeover.versions import HandoffInfo, HandoffUnreadable, agree, parse_handoff_info

MAX_ANSWER_BYTES = 1 << 20
KILL_PATIENCE = 2.0


def new_command(executable: str | None) -> tuple[str, ...]:
    """Give the program and first arguments that start the new version.

    It is a `hotswap` command or a Python interpreter; None: what this process was started from.
    """
    if executable is None:
        ours = sys.argv[0]
        executable = ours if os.path.basename(ours) == "hotswap" and os.access(ours, os.X_OK) else sys.executable
    if os.path.basename(executable).startswith("python"):
        return (executable, "-m", "hotswap")
    return (executable,)


async def ask_new_version(command: Sequence[str], config: Path, *, environment: Mapping[str, str]) -> HandoffInfo:
    """Ask the new code on disk, by a command from `new_command`, whether it can take over with a configuration.

    Raises:
        Refused: it cannot; the detail says why and what to do.

    **Cancellation**: the process that was asked is killed.
    """
    argv = [*command, "run", "--handoff-info", str(config)]
    try:
        process = await trio.lowlevel.open_process(
            argv, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
    except OSError as error:
        raise _unreadable(f"{command[0]} cannot be started: {_why(command[0], error)}") from error
    answer, complaint = bytearray(), bytearray()

    async def read(stream: trio.abc.ReceiveStream, into: bytearray) -> None:
        async for data in stream:
            if len(into) < MAX_ANSWER_BYTES:
                into += data

    assert process.stdout is not None
    assert process.stderr is not None
    try:
        async with process.stdout, process.stderr, trio.open_nursery() as nursery:
            nursery.start_soon(read, process.stdout, answer)
            nursery.start_soon(read, process.stderr, complaint)
            await process.wait()
            # What it left behind may hold its streams.
            nursery.cancel_scope.deadline = trio.current_time() + KILL_PATIENCE
    finally:
        if process.returncode is None:
            process.kill()
            with trio.CancelScope(shield=True), trio.move_on_after(KILL_PATIENCE):
                await process.wait()
    try:
        value = json.loads(answer)
        info = parse_handoff_info(value)
    except (ValueError, HandoffUnreadable) as error:
        said = complaint.decode("utf-8", "replace").strip().splitlines()
        last = f"; it said: {said[-1][:200]}" if said else ""
        raise _unreadable(
            f"{' '.join(argv)} does not tell its versions ({error}); exit code {process.returncode}{last}"
        ) from error
    agree(own_handoff_info(), info)
    problems = value.get("problems")
    if problems:
        raise Refused(
            RefusalCode.CONFIG_INVALID,
            f"version {info.version} cannot use {config}: {'; '.join(map(problem_text, problems))}",
            {"config": str(config), "problems": problems},
        )
    return info


def _why(program: str, error: OSError) -> str:
    """Say why a program cannot be started, and what helps where it was removed since this process was."""
    if not isinstance(error, FileNotFoundError):
        return error.strerror or str(error)
    what = "the interpreter that it names is gone" if os.path.lexists(program) else "it is gone"
    return f"{what}; install hotswap there again, or name another one: hotswap takeover --executable FILE"


def _unreadable(detail: str) -> Refused:
    return Refused(RefusalCode.COMPATIBILITY_UNREADABLE, f"{detail}. Nothing was changed", {})
