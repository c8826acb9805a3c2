"""The options that say which proxy is meant: the same for every verb, explained once, in `hotswap --help`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from hotswap.cli.endpoint import TOKEN_VARIABLE, VARIABLE, note_option

F = TypeVar("F", bound=Callable[..., object])


class SilentOption(click.Option):
    """An option that a verb takes, and that its help leaves to that of the whole command."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Give none."""
        return None


COMMON: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    (
        "--admin",
        {
            "metavar": "URL",
            "help": f"Where the proxy is: http://HOST:PORT or unix:/path. Default: ${VARIABLE}, then admin.sock in the "
            "state directory of the configuration, then its [admin] table.",
        },
    ),
    (
        "--config",
        {
            "metavar": "FILE",
            "type": click.Path(path_type=Path),
            "help": "The configuration whose proxy is meant. Default: as for run.",
        },
    ),
    (
        "--token-file",
        {
            "metavar": "FILE",
            "type": click.Path(path_type=Path),
            "help": f"Holds the token of the admin API. Default: ${TOKEN_VARIABLE}, then [admin] of the configuration.",
        },
    ),
)
"""Each with what click is told of it."""


def common_options(*, explained: bool) -> Callable[[F], F]:
    """Give a command these options, and have its help explain them or not."""

    def decorate(command: F) -> F:
        for name, told in reversed(COMMON):
            kind = click.Option if explained else SilentOption
            command = click.option(name, cls=kind, expose_value=False, callback=note_option, **told)(command)
        return command

    return decorate
