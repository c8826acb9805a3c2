"""Reads the files whose contents belong to a configuration."""

from __future__ import annotations

from hotswap.control.configuration.error_pages import read_error_pages
from hotswap.control.configuration.outside import read_file
from hotswap.core.config import Configuration
from hotswap.core.errors import ConfigError, Problem
from hotswap.core.http.contents import Contents
from hotswap.core.http.password_hash import PasswordHash
from hotswap.core.http.users_file import LARGEST_FILE, parse_users


def read_contents(config: Configuration) -> Contents:
    """Read the files whose contents belong to a configuration; blocks, up to `READ_TIMEOUT` for each.

    Raises:
        ConfigError: one cannot be read, or is not what it should be; it lists all of them.
    """
    problems: list[Problem] = []
    contents = Contents(users=_read_users(config, problems), pages=_read_pages(config, problems))
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


def _read_users(config: Configuration, problems: list[Problem]) -> dict[str, dict[str, PasswordHash]]:
    users: dict[str, dict[str, PasswordHash]] = {}
    for index, route in enumerate(config.routes):
        path = route.basic_auth
        if not path or path in users:
            continue
        users[path] = {}
        try:
            content = read_file(path, LARGEST_FILE + 1)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            allowed = f"a file of user:hash lines; {path}: {reason}: make it with htpasswd -cB -C 10 {path} NAME"
            problems.append(Problem(f"routes[{index}].basic_auth", path, allowed))
        else:
            users[path] = parse_users(content, path, problems)
    return users
