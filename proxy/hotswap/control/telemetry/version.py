"""Which version of the program this is."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

DISTRIBUTION = "hotswap"


def program_version() -> str:
    """Give the version of the installed distribution; `0+unknown` when it runs from a bare checkout."""
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return "0+unknown"
