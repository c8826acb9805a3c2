"""The command `hotswap` with its verbs, imported one by one when needed."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final

import click

from hotswap.cli.endpoint import Options, note_option
from hotswap.cli.exits import CommandError
from hotswap.control.telemetry.version import PROGRAM_VERSION

VERBS: Final[Mapping[str, str]] = {
    "run": "running",
    "check": "running",
    "init": "running",
    "status": "watching",
    "healthcheck": "healthcheck",
    "reload": "reloading",
    "apply": "applying",
    "rollouts": "reporting",
    "drain": "ordering",
    "readmit": "ordering",
    "pause": "ordering",
    "resume": "ordering",
    "unlock": "ordering",
    "abort": "ordering",
    "events": "watching",
    "takeover": "ordering",
    "stop": "ordering",
    "schema": "running",
    "completion": "completing",
    "version": "running",
}
"""Each verb with the module of this package that has it; only that of the verb in question is imported."""


def load_verb(name: str) -> click.Command:
    """Import a verb that is in `VERBS`."""
    found = getattr(import_module(f"hotswap.cli.{VERBS[name]}"), name)
    assert isinstance(found, click.Command)
    return found


class VerbGroup(click.Group):
    """Verbs as lazily imported commands, in the order of `VERBS`: from the first day to the last."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Give the names, in that order."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a verb, unless there is none of this name."""
        return load_verb(cmd_name) if cmd_name in VERBS else None

    def invoke(self, ctx: click.Context) -> Any:
        """Do what a verb does, and end with the exit code of its error."""
        try:
            return super().invoke(ctx)
        except CommandError as error:
            error.show()
            ctx.exit(error.exit_code)


@click.group(
    cls=VerbGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100, "obj": None},
    epilog="Exit codes: 0 done, 1 failed or unreachable, 2 usage or configuration, 3 refused, 4 the rollout failed.",
)
@click.version_option(PROGRAM_VERSION, message="hotswap %(version)s")
@click.option("--admin", metavar="URL", expose_value=False, callback=note_option, hidden=True)
@click.pass_context
def hotswap(context: click.Context) -> None:
    """A reverse proxy that owns the ports and replaces Python backends one at a time.

    Write a configuration with init, start the proxy with run, replace its backends with reload.
    """
    context.ensure_object(Options)
