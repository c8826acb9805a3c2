"""Write docs/reference/cli.md from the commands, so that it cannot say what the program does not do.

`make docs` writes it; a test fails while the file is stale.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from hotswap.cli.examples import example_lines
from hotswap.cli.group import VERBS, hotswap, load_verb

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "cli.md"

# ruff: noqa: E501  # rows of tables and sentences of prose stand on one line each
HEAD = """\
# Command line

<!-- Written by `make docs` from the commands; changes belong there. -->

`hotswap VERB [OPTIONS]`, or `python -m hotswap VERB [OPTIONS]`.
Data goes to standard output, everything else to standard error.
There is colour on a terminal only, and none with `NO_COLOR`.
What `--json` prints gains keys over time and loses none.

## Exit codes

| code | means |
|---|---|
| 0 | done |
| 1 | failed, or the proxy cannot be reached |
| 2 | usage or configuration error: every problem in the file at once, in the order of its lines, each as `FILE:LINE: KEY must be WHAT, is VALUE`, and behind a semicolon a way out |
| 3 | refused; the reason code is printed, as `refused: CODE: why` (the codes are in [admin-api.md](admin-api.md#refusals)) |
| 4 | the rollout started and failed, or was aborted; what failed is printed, with the last lines of the backend's output |

## Finding the proxy

Verbs that speak to a running proxy have three options for it, before the verb or behind it:

| option | means |
|---|---|
"""

AFTER = """\

The order is: `--admin`, `$HOTSWAP_ADMIN`, `admin.sock` in the [state directory](configuration.md#proxy) of the configuration, then the addresses of its `[admin]` table; of these the first at which the proxy of the configuration answers is used.
The configuration is the file named by `--config`, else the one that `run` would use.
Where its proxy was started with other rights or variables, as by a service, the directories that it may have had to choose are looked at as well.

A verb never speaks to another configuration's proxy: unless `--admin` was given, the proxy is asked first which file it runs, and when that is not the file that was meant, nothing is done, both are named, and the exit code is 1.
Two names of one file, such as a link and what it points to, are the same configuration.
After `takeover --to FILE` the proxy is found by that file.

Of the file nothing is read but `state_dir` and the `[admin]` table, so a mistake elsewhere in it does not hide the proxy.
"""


def write_page() -> str:
    """Give the page."""
    context = click.Context(hotswap, info_name="hotswap")
    shared = shared_options(hotswap)
    parts = [HEAD, *(option_row(option) for option in shared), AFTER]
    for name in VERBS:
        parts.extend(_command(name, load_verb(name), context))
    return "".join(parts)


def shared_options(command: click.Command) -> list[click.Option]:
    """Give the options that say where the proxy is."""
    names = {"admin", "config", "token_file"}
    return [one for one in command.params if isinstance(one, click.Option) and one.name in names]


def option_row(option: click.Option) -> str:
    """Give an option as a row of a table."""
    names = ", ".join(option.opts)
    names += f" {option.metavar}" if option.metavar else ""
    return f"| `{names}` | {option.help} |\n"


def _command(name: str, command: click.Command, parent: click.Context) -> Iterator[str]:
    context = click.Context(command, info_name=name, parent=parent)
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"\n## hotswap {name}\n\n```\nhotswap {name} {usage}\n```\n\n"
    yield "\n\n".join(" ".join(part.split()) for part in (command.help or "").split("\n\n")) + "\n"
    yield "\n```\n" + "\n".join(example_lines(name)) + "\n```\n"
    shared = shared_options(command)
    options = [one for one in command.params if isinstance(one, click.Option) and not one.hidden]
    own = [one for one in options if one not in shared]
    if own:
        yield "\n| option | means |\n|---|---|\n"
        yield from map(option_row, own)
    if shared:
        yield "\nIt speaks to a running proxy: [`--admin`, `--config`, `--token-file`](#finding-the-proxy).\n"
