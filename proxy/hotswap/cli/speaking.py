"""Decorator of verbs that call the admin API: the options to find the proxy, and exit codes for its errors."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

import click

from hotswap.cli.client import AdminClient, ProblemAnswer, ProxyLost, Stranger, translate
from hotswap.cli.common_options import common_options
from hotswap.cli.endpoint import Options
from hotswap.cli.exits import CommandError, ExitCode

P = ParamSpec("P")
R = TypeVar("R")


def speaks(command: Callable[Concatenate[AdminClient, P], R]) -> Callable[P, R]:
    """Give a command the options to find the proxy, and a client as its first argument.

    What the client raises becomes the message and exit code of the command.
    """

    @common_options(explained=False)
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
