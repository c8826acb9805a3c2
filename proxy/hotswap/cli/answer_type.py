"""What `pause --answer` takes: a status, or the path of a page, as the admin API is told of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click
from click.shell_completion import CompletionItem

from hotswap.cli.exits import CommandError, ExitCode
from hotswap.core.pool.pause_answer import MAX_PAGE_BYTES, STATUSES

COMMON: Final = ("404", "410", "429", "500", "502", "503", "504")
"""The statuses that a shell completes."""


class AnswerType(click.ParamType):  # type: ignore[type-arg]  # it is generic since click 8.4 alone
    """A number is a status, and anything else a path."""

    name = "answer"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | Path:
        """Tell a status from a path; a number that is no status of an error is a usage error."""
        text = str(value)
        if not (text.isascii() and text.isdigit()):
            return Path(text)
        if len(text) > 3 or int(text) not in STATUSES:
            self.fail(f"a status is a number from {STATUSES.start} to {STATUSES[-1]}, not {text}", param, ctx)
        return int(text)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Complete common statuses, and files where no number was begun."""
        if incomplete.isdigit():
            return [CompletionItem(status) for status in COMMON if status.startswith(incomplete)]
        return [CompletionItem(incomplete, type="file")]


def read_answer(answer: int | Path) -> dict[str, object]:
    """Give the body of the call: a status, or 503 and the page that is in a file, HTML in UTF-8.

    Raises:
        CommandError: there is no such page.
    """
    if isinstance(answer, int):
        return {"answer": answer}
    try:
        with open(answer, "rb") as file:
            content = file.read(MAX_PAGE_BYTES + 1)
        page = content.decode()
    except OSError as error:
        detail = f"--answer takes a status from 400 to 599 or a page; {answer} cannot be read: {error.strerror}"
        raise CommandError(ExitCode.USAGE, detail) from error
    except UnicodeDecodeError as error:
        detail = f"{answer} is no page in UTF-8"
        raise CommandError(
            ExitCode.USAGE, detail, f"save it as such: iconv -f ISO-8859-1 -t UTF-8 {answer} > new.html"
        ) from error
    if not 0 < len(content) <= MAX_PAGE_BYTES:
        size = "larger than 1 MiB" if content else "empty"
        raise CommandError(ExitCode.USAGE, f"{answer} is {size}; a page has up to 1 MiB")
    return {"answer": 503, "page": page}
