"""Shell completion: the script that a shell loads once, and the names it asks for while somebody types."""

from __future__ import annotations

import sys

import click
from click.shell_completion import CompletionItem, get_completion_class

from hotswap.cli.client import AdminClient, ProblemAnswer, ProxyLost, Stranger
from hotswap.cli.endpoint import Options
from hotswap.cli.exits import CommandError

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_HOTSWAP_COMPLETE"
"""By which a shell asks; its name is click's choice."""

ANSWER_TIMEOUT = 1.0
"""Seconds that somebody who types waits for the proxy."""


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print what makes SHELL complete verbs, options and the names of pools.

    bash: eval "$(hotswap completion bash)" in ~/.bashrc; zsh the same in ~/.zshrc; fish: hotswap completion fish >
    ~/.config/fish/completions/hotswap.fish.
    """
    made_by = get_completion_class(shell)
    assert made_by is not None, "click knows these three"
    root = click.get_current_context().find_root()
    # As text and not through a console: a shell reads it.
    sys.stdout.write(made_by(root.command, {}, "hotswap", VARIABLE).source() + "\n")


def complete_pool(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Give the names of pools of the running proxy that begin like this; none when it does not answer."""
    try:
        endpoint = context.ensure_object(Options).endpoint()
        client = AdminClient(endpoint, timeout=ANSWER_TIMEOUT)
        client.recognise()
        pools = client.get("/v1/status")["pools"]
    except (CommandError, ProxyLost, ProblemAnswer, Stranger):
        return []
    named = context.params.get(parameter.name or "") or ()
    given = named if isinstance(named, tuple) else ()
    return [CompletionItem(name) for name in pools if name.startswith(incomplete) and name not in given]
