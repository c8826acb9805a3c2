"""The command `hotswap` with its verbs, imported one by one when needed."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final

import click

from hotswap.cli.common_options import common_options
from hotswap.cli.endpoint import Options
from hotswap.cli.examples import example_lines
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
    "events": "event_stream",
    "takeover": "ordering",
    "stop": "ordering",
    "schema": "running",
    "completion": "completing",
    "version": "running",
}
"""Each verb with the module of this package that has it; only that of the verb in question is imported."""


NEAR: Final[Mapping[str, str]] = {
    "apps": "status", "deploy": "reload", "halt": "stop", "health": "status", "list": "status", "log": "events",
    "logs": "events", "ls": "status", "ps": "status", "quit": "stop", "restart": "reload", "rollback": "rollouts",
    "rollout": "reload", "serve": "run", "start": "run", "test": "check", "up": "run", "upgrade": "takeover",
    "validate": "check",
}  # fmt: skip
"""Words that other programs have for what a verb does."""

EVERYWHERE: Final = "--admin, --config and --token-file say which proxy is meant: hotswap --help"


def load_verb(name: str) -> click.Command:
    """Import a verb that is in `VERBS`, with its examples below its help."""
    found = getattr(import_module(f"hotswap.cli.{VERBS[name]}"), name)
    assert isinstance(found, click.Command)
    speaks = any(option.name == "token_file" for option in found.params)
    found.epilog = "\n\n".join(
        ["\b\n" + "\n".join(["Examples:", *(f"  {line}" for line in example_lines(name))]), *([EVERYWHERE] * speaks)]
    )
    return found


def nearest_verbs(word: str) -> list[str]:
    """Give the verbs that somebody who typed this may have meant, the likeliest first."""
    from difflib import get_close_matches  # nobody needs it who types well

    meant = [NEAR[word.lower()]] if word.lower() in NEAR else []
    return list(dict.fromkeys([*meant, *get_close_matches(word.lower(), VERBS, n=2, cutoff=0.6)]))


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

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb that was typed; `help` and `help VERB` are understood as what they ask for.

        Raises:
            click.UsageError: there is none of this name; the nearest are named.
        """
        word = args[0]
        if word == "help":
            if len(args) == 1:
                click.echo(ctx.get_help())
                ctx.exit()
            word, args = args[1], [args[1], "--help"]
        if word in VERBS or ctx.resilient_parsing:
            return super().resolve_command(ctx, args)
        near = " or ".join(f"hotswap {verb}" for verb in nearest_verbs(word))
        raise click.UsageError(f"there is no verb {word!r}" + (f"; did you mean {near}?" if near else ""), ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the verbs, each with its first sentence, whole."""
        rows = [(name, first_sentence(load_verb(name))) for name in VERBS]
        with formatter.section("Verbs"):
            formatter.write_dl(rows)


def first_sentence(verb: click.Command) -> str:
    """Give the first sentence of a verb's help, up to a semicolon."""
    text = " ".join((verb.help or "").split("\n\n")[0].split())
    return text.partition(". ")[0].partition(";")[0].rstrip(".") + "."


@click.group(
    cls=VerbGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100, "obj": None},
    subcommand_metavar="VERB [ARGUMENTS]...",
    epilog="\b\nFirst steps:\n  hotswap init    # writes hotswap.toml\n"
    "  hotswap run     # starts proxy and app\n  hotswap reload  # brings new code in\n\n"
    "Exit codes: 0 done, 1 failed or unreachable, 2 usage or configuration, 3 refused, 4 the rollout failed.\n\n"
    "hotswap VERB --help shows examples of a verb.",
)
@click.version_option(PROGRAM_VERSION, message="hotswap %(version)s")
@common_options(explained=True)
@click.pass_context
def hotswap(context: click.Context) -> None:
    """A reverse proxy that owns the ports and replaces Python backends one at a time.

    The options stand before or behind any verb that speaks to a running proxy.
    """
    context.ensure_object(Options)
