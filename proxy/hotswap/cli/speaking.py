"""Decorator of verbs that call the admin API: their common options, and exit codes for its errors."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import click

from hotswap.cli.client import AdminClient, ProblemAnswer, ProxyLost, Stranger, translate
from hotswap.cli.endpoint import VARIABLE, Options, note_option
from hotswap.cli.exits import CommandError, ExitCode

P = ParamSpec("P")
R = TypeVar("R")


def speaks(command: Callable[Concatenate[AdminClient, P], R]) -> Callable[P, R]:
    """Give a command the options to find the proxy, and a client as its first argument.

    What the client raises becomes the message and exit code of the command.
    """

    @click.option(
        "--admin",
        metavar="URL",
        expose_value=False,
        callback=note_option,
        help=f"Where the proxy is: http://HOST:PORT or unix:/path. Default: ${VARIABLE}, then admin.sock in the state "
        "directory of the configuration, then its [admin] table.",
    )
    @click.option(
        "--config",
        metavar="FILE",
        type=click.Path(path_type=Path),
        expose_value=False,
        callback=note_option,
        help="The configuration whose proxy is meant. Default: as for run.",
    )
    @click.option(
        "--token-file",
        metavar="FILE",
        type=click.Path(path_type=Path),
        expose_value=False,
        callback=note_option,
        help="Holds the token of the admin API. Default: $HOTSWAP_ADMIN_TOKEN_FILE, then [admin] of the configuration.",
    )
    @wraps(command)
    def speaking(*arguments: P.args, **options: P.kwargs) -> R:
        client = AdminClient(click.get_current_context().ensure_object(Options).endpoint())
        try:
            client.recognise()
            return command(client, *arguments, **options)
        except (ProxyLost, ProblemAnswer, Stranger) as error:
            raise translate(error, client.endpoint) from error
        except (KeyError, TypeError, AttributeError) as error:
            message = f"what answers at {client.endpoint.where} is not the admin API of a hotswap proxy: {error!r}"
            raise CommandError(ExitCode.FAILED, message, f"found by {client.endpoint.source}") from error

    return speaking
