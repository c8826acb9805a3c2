"""A release: what a backend is started from, pinned so that a respawn gets exactly the same.

It is read once for a rollout (symbolic links resolved, environment file and compatibility number read) and
belongs to every backend of that rollout for as long as it lives. A crash in the middle of a deploy is
respawned from the release of the process that crashed, whatever the links point to by then.

What is resolved: the directory, and the directories of `python` and of the program in `command` where they
are given with a slash (never the program itself: a virtual environment is found by the name of its
interpreter, which is a link). Other arguments are taken as they are; relative ones are relative to the
resolved directory, because that is where backends run.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

import trio

from hotswap.control.configuration.outside import read_file, read_within
from hotswap.control.pools.compatibility import read_compatibility
from hotswap.core.config import PoolTable, SupervisedPoolTable
from hotswap.core.errors import ConfigError, Problem
from hotswap.core.rollout.compatibility import Compatibility
from hotswap.core.server import Server
from hotswap.core.strategy import Ready
from hotswap.processes.guardian import Guardian
from hotswap.processes.presets import Recipe
from hotswap.processes.presets import recipe as recipe_of
from hotswap.processes.spawn import SpawnPlan

NOT_INHERITED = frozenset(
    {"HOTSWAP_ADMIN", "INVOCATION_ID", "NOTIFY_SOCKET", "RUNTIME_DIRECTORY", "WATCHDOG_PID", "WATCHDOG_USEC"}
)
"""Variables that are about the proxy and not about its backends."""

_ENTRY = "a file with one NAME=VALUE a line; this line has none: put # before it if it is a comment"
MAX_ENVIRONMENT_BYTES = 1024 * 1024
"""More than that is no environment file; the kernel takes about 2 MiB of arguments and variables together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """What backends are started from.

    Attributes:
        table: the pool's definition.
        directory: where they run, symbolic links resolved.
        environment: every variable they get but those the proxy sets for each of them.
        recipe: program, arguments and socket.
        compatibility: the number, why it could not be read, or None when there is none.
    """

    table: SupervisedPoolTable
    directory: str
    environment: Mapping[str, str] = field(repr=False)
    recipe: Recipe
    compatibility: Compatibility | None

    def plan(self, *, pool: str, slot: int, generation: int) -> SpawnPlan:
        """Give what is spawned for a slot."""
        return SpawnPlan(
            recipe=self.recipe,
            directory=self.directory,
            environment=self.environment,
            pool=pool,
            slot=slot,
            generation=generation,
            notify=self.table.ready is Ready.NOTIFY,
        )


async def read_release(
    pool: str, table: SupervisedPoolTable, *, environment: Mapping[str, str], guardian: Guardian | None = None
) -> Release:
    """Resolve and read what backends of a pool would be started from now.

    Args:
        pool: its name, for the paths of problems.
        table: its definition.
        environment: the variables of the proxy.
        guardian: ends what is run for it should the proxy be killed.

    Raises:
        ConfigError: the directory or the environment file cannot be used.

    **Cancellation**: a file or command that is still being read is left to its own deadline.
    """
    directory, variables, recipe = await trio.to_thread.run_sync(
        resolve_release, pool, table, environment, abandon_on_cancel=True
    )
    return Release(
        table=table,
        directory=directory,
        environment=variables,
        recipe=recipe,
        compatibility=await read_compatibility(
            table.compatibility, directory=directory, environment=variables, guardian=guardian
        ),
    )


async def read_releases(
    tables: Mapping[str, PoolTable], *, environment: Mapping[str, str], guardian: Guardian | None = None
) -> dict[str, Release]:
    """Read what the backends of every supervised pool are started from, all at the same time; see `read_release`.

    Raises:
        ConfigError: some of it cannot be used; it lists everything.
    """
    releases: dict[str, Release] = {}
    problems: list[Problem] = []

    async def read(name: str, table: SupervisedPoolTable) -> None:
        try:
            releases[name] = await read_release(name, table, environment=environment, guardian=guardian)
        except ConfigError as error:
            problems.extend(error.problems)

    async with trio.open_nursery() as nursery:
        for name, table in tables.items():
            if isinstance(table, SupervisedPoolTable):
                nursery.start_soon(read, name, table)
    if problems:
        raise ConfigError(problems)
    return releases


def resolve_release(
    pool: str, table: SupervisedPoolTable, environment: Mapping[str, str]
) -> tuple[str, dict[str, str], Recipe]:
    """Give the directory, the variables and the recipe of a release, links resolved; blocks, up to `READ_TIMEOUT`.

    Raises:
        ConfigError: the directory or the environment file cannot be used.
    """
    try:
        directory, recipe = read_within(
            lambda: (os.path.realpath(table.directory, strict=True), recipe_of(_resolve_programs(table))),
            table.directory,
        )
    except OSError as error:
        raise ConfigError(
            [Problem(f"pools.{pool}.directory", table.directory, f"a directory; {error.strerror}")]
        ) from error
    variables = {name: value for name, value in environment.items() if name not in NOT_INHERITED}
    variables["PWD"] = directory
    if table.environment_file:
        variables |= read_environment_file(f"pools.{pool}.environment_file", table.environment_file)
    return directory, variables | dict(table.environment), recipe


def read_environment_file(key: str, path: str) -> dict[str, str]:
    """Read NAME=VALUE lines; blocks, up to `READ_TIMEOUT`.

    Empty lines, comments (`#`) and one pair of quotes around a value go.

    Args:
        key: key path of the setting that names the file.
        path: the file.

    Raises:
        ConfigError: it cannot be read, or a line of it is something else; every such line is listed.
    """
    try:
        content = read_file(path, MAX_ENVIRONMENT_BYTES + 1)
        if len(content) > MAX_ENVIRONMENT_BYTES:
            raise ConfigError([Problem(key, path, "a file of at most 1 MiB")])
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise ConfigError([Problem(key, path, f"a file that can be read; {error.strerror}")]) from error
    except UnicodeDecodeError as error:
        raise ConfigError([Problem(key, path, "a file in UTF-8")]) from error
    variables: dict[str, str] = {}
    problems: list[Problem] = []
    for number, line in enumerate(text.splitlines(), start=1):
        entry = line.strip()
        if not entry or entry.startswith("#"):
            continue
        name, equals, value = entry.removeprefix("export ").partition("=")
        name, value = name.strip(), value.strip()
        if not equals or not name or " " in name or "\0" in entry:
            # The line may hold a secret, so it is not shown.
            problems.append(
                Problem(
                    key,
                    f"{path}:{number}",
                    _ENTRY,
                )
            )
            continue
        if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        variables[name] = value
    if problems:
        raise ConfigError(problems)
    return variables


def _resolve_programs(table: SupervisedPoolTable) -> SupervisedPoolTable:
    """Resolve the directories of the programs that are named with one."""
    update: dict[str, object] = {}
    if "/" in table.python:
        update["python"] = _resolve_program(table.python)
    if table.server is Server.COMMAND and table.command[:1] and table.command[0].startswith("/"):
        update["command"] = (_resolve_program(table.command[0]), *table.command[1:])
    return table.model_copy(update=update) if update else table


def _resolve_program(path: str) -> str:
    directory, name = os.path.split(path)
    return os.path.join(os.path.realpath(directory), name)
