"""The command `hotswap`: the list of its verbs, in the order in which help shows them."""

from __future__ import annotations

import click

from proxy.cli.completing import completion
from proxy.cli.endpoint import Options, note_option
from proxy.cli.ordering import abort, drain, pause, readmit, resume, stop, takeover, unlock
from proxy.cli.reloading import reload
from proxy.cli.reporting import rollouts
from proxy.cli.running import check, init, run, schema, version
from proxy.cli.watching import events, status
from proxy.control.version import program_version


class InOrder(click.Group):
    """A group that lists its commands as they were added: from the first day to the last."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Give the names, in that order."""
        return list(self.commands)


@click.group(
    cls=InOrder,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100, "obj": None},
    epilog="Exit codes: 0 done, 1 failed or unreachable, 2 usage or configuration, 3 refused, 4 the rollout failed.",
)
@click.version_option(program_version(), message="hotswap %(version)s")
@click.option("--admin", metavar="URL", expose_value=False, callback=note_option, hidden=True)
@click.pass_context
def hotswap(context: click.Context) -> None:
    """A reverse proxy that owns the ports and replaces Python backends one at a time.

    Write a configuration with init, start the proxy with run, replace its backends with reload.
    """
    context.ensure_object(Options)


for command in (
    run,
    check,
    init,
    status,
    reload,
    rollouts,
    drain,
    readmit,
    pause,
    resume,
    unlock,
    abort,
    events,
    takeover,
    stop,
    schema,
    completion,
    version,
):
    hotswap.add_command(command)
