"""The verb `healthcheck` for whoever asks for its help or mistypes it; all else is answered by `readiness` alone."""

from __future__ import annotations

import click

from hotswap.cli.common_options import common_options
from hotswap.cli.endpoint import Options
from hotswap.cli.exits import CommandError, ExitCode
from hotswap.cli.readiness import check_health


@click.command()
@click.option("--live", is_flag=True, help="Ask whether the proxy answers at all, and not whether it can serve.")
@common_options(explained=False)
def healthcheck(live: bool) -> None:
    """Exit with 0 when the proxy is ready: every pool has a backend that can serve.

    Else with 1, and the reason on standard error. For HEALTHCHECK of a container and the like: it takes a fraction of
    what the other verbs do.
    """
    context = click.get_current_context()
    try:
        endpoint = context.ensure_object(Options).endpoint()
    except CommandError as error:
        # Whatever is in its way, the answer is that the proxy is not known to be ready.
        raise CommandError(ExitCode.FAILED, error.message, *error.hints) from error
    context.exit(check_health(endpoint, live=live))
