"""Programs of the machine that some tests need, and what happens when one is missing."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest


def require_tool(program: str, *, package: str, places: str = "") -> str:
    """Find a program, or skip the test with a line that names the package; with CI=true that is a failure.

    Args:
        program: its name, looked up in PATH and where Debian keeps daemons.
        package: Debian package that has it; `make tools` installs it.
        places: further directories to look in, in the form of PATH.

    Returns:
        The path of the program.
    """
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin", places])
    found = shutil.which(program, path=path)
    if found is None:
        refuse(f"{program} is missing: install the Debian package {package} (make tools)")
    return found


def refuse(message: str) -> NoReturn:
    """Skip the test because of what the machine lacks; with CI=true that is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)
