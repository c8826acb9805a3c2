"""Reads the files whose contents belong to a configuration."""

from __future__ import annotations

from hotswap.control.configuration.error_pages import read_error_pages
from hotswap.core.config import Configuration
from hotswap.core.errors import ConfigError, Problem
from hotswap.core.http.contents import Contents


def read_contents(config: Configuration) -> Contents:
    """Read the files whose contents belong to a configuration; blocks, up to `READ_TIMEOUT` for each.

    Raises:
        ConfigError: one cannot be read, or is not what it should be; it lists all of them.
    """
    problems: list[Problem] = []
    contents = Contents(pages=_read_pages(config, problems))
    if problems:
        raise ConfigError(problems)
    return contents


def _read_pages(config: Configuration, problems: list[Problem]) -> dict[str, dict[int, bytes]]:
    found: dict[str, dict[int, bytes]] = {}
    for name, pool in config.pools.items():
        directory = pool.error_pages
        if directory:
            found[name], wrong = read_error_pages(directory)
            problems += [Problem(f"pools.{name}.error_pages", directory, one) for one in wrong]
    return found
