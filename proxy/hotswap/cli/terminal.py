"""Printing: data to standard output, everything else to standard error, colour only for a terminal."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

from hotswap.core.printable import escape_controls

if TYPE_CHECKING:
    from rich.console import Console

WIDE = 1000
"""Columns assumed where nobody looks: what is piped into another program is never cut or wrapped."""


def output(*, wrap: bool = False) -> Console:
    """Give standard output; with `wrap` what is wider than a terminal is folded by its words."""
    return _console(stderr=False, wrap=wrap)


def messages(*, wrap: bool = False) -> Console:
    """Give standard error; `wrap` as in `output`."""
    return _console(stderr=True, wrap=wrap)


def _console(*, stderr: bool, wrap: bool = False) -> Console:
    from rich.console import Console  # here and in what follows: a proxy that starts prints nothing with it

    stream = sys.stderr if stderr else sys.stdout
    terminal = stream.isatty() and os.environ.get("TERM") != "dumb"
    # Decided here and not by FORCE_COLOR and the like: the contract says no colour off a terminal.
    return Console(
        file=stream,
        force_terminal=terminal,
        no_color=True if not terminal else None,
        width=None if terminal else WIDE,
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=not wrap,
    )


def tell(message: str) -> None:
    """Print a message for a person on standard error; control characters of others are made visible."""
    from rich.text import Text

    messages().print(Text(escape_controls(message)))


def put(line: str) -> None:
    """Print a line of data on standard output."""
    from rich.text import Text

    output().print(Text(escape_controls(line)))


def put_json(document: Any, *, indent: int | None = 2) -> None:
    """Print data as JSON on standard output; with `indent=None` on one line."""
    # Not by rich: JSON is for programs, and what they read is not wrapped, coloured or escaped.
    text = json.dumps(document, indent=indent, ensure_ascii=False)
    try:
        text.encode(sys.stdout.encoding)
    except UnicodeEncodeError:
        # A path that is not UTF-8, or a terminal that is not.
        text = json.dumps(document, indent=indent)
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
