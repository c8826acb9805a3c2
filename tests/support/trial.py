"""The trial of a new user: `make trial` clones this checkout and does what the tutorials say, and nothing else.

Unlike the tests it also types the commands that fetch and install packages, into a fresh virtual environment, so it
needs the network and about a minute.
"""

from __future__ import annotations

import shlex
import subprocess
import tempfile
import time
from pathlib import Path

import trio

from tests.support.documented import Elsewhere, steps
from tests.support.reader import ROOT, open_reader

TUTORIALS = ("your-first-app.md", "your-django-project.md")


async def follow_tutorial(name: str, home: Path) -> int:
    """Do all of one in an empty directory; gives how many commands were typed.

    Raises:
        AssertionError: something is not as the page says.
    """
    page = (home / "hotswap" / "docs" / "tutorials" / name).read_text(encoding="utf-8")
    directory = home / "app"
    directory.mkdir()
    installing = [step for step in steps(page) if isinstance(step, Elsewhere)]
    script = "\n".join(command.text for step in installing for command in step.commands)
    # As at a terminal, and with nothing of what runs this.
    variables = {"HOME": str(home), "PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
    done = await trio.run_process(
        ["bash", "-ec", script], cwd=directory, env=variables, capture_stdout=True, capture_stderr=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    async with open_reader(directory, programs=directory / ".venv" / "bin") as reader:
        return await reader.follow(page)


def main() -> None:
    """Clone, and follow each."""
    for name in TUTORIALS:
        with tempfile.TemporaryDirectory(prefix="trial-") as folder:
            began = time.monotonic()
            clone = ["git", "clone", "--quiet", str(ROOT), f"{folder}/hotswap"]
            print(f"$ {shlex.join(clone)}")
            subprocess.run(clone, check=True)
            typed = trio.run(follow_tutorial, name, Path(folder))
            seconds = time.monotonic() - began
            print(f"{name}: {typed} commands did what the page says, in {seconds:.0f} s from the clone on")


if __name__ == "__main__":
    main()
