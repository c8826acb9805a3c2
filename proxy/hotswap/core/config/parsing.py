"""Parses the text of a file into a configuration, or into all its problems at once.

The steps: TOML into a document of plain tables; the document into models, each key by itself; the document
against itself (`hotswap.core.config.conflicts`). All findings of the last two are reported together, and
whoever can look at the disk (`hotswap.control.configuration`) adds what is missing there before anything is
raised.
"""

from __future__ import annotations

import os.path
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import ValidationError

from hotswap.core.config.configuration import Configuration
from hotswap.core.config.conflicts import find_conflicts
from hotswap.core.config.fields import DIRECTORY
from hotswap.core.config.findings import Finding, find_unusable_texts, in_order_of, translate
from hotswap.core.errors import MISSING, ConfigError, Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A parsed file that is not accepted yet.

    Attributes:
        document: the tables as TOML gives them.
        directory: where the file is; its relative paths start here.
        configuration: the models, or None when a key is wrong.
        findings: everything wrong so far.
    """

    document: dict[str, object]
    directory: str
    configuration: Configuration | None
    findings: tuple[Finding, ...]

    def accept(self, more: Iterable[Finding] = ()) -> Configuration:
        """The configuration, if nothing is wrong with it.

        Args:
            more: what else was found wrong in it.

        Raises:
            ConfigError: something is wrong; it lists everything.
        """
        findings = [*self.findings, *more]
        if findings or self.configuration is None:
            raise ConfigError(in_order_of(self.document, findings))
        return self.configuration


def parse_draft(text: str, *, origin: str) -> Draft:
    """Parse and check TOML, without looking at the disk.

    Relative paths in it become paths below the directory of `origin`; `proxy.state_dir` stays empty where the file does
    not say it.

    Args:
        text: TOML.
        origin: path of the file, for relative paths and for messages; it is not opened.

    Raises:
        ConfigError: the text is not TOML; nothing more can be said about it then.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([_syntax_problem(text, origin, str(error))]) from None
    directory = os.path.dirname(origin)
    configuration = None
    findings: list[Finding] = []
    try:
        configuration = Configuration.model_validate(document, context={DIRECTORY: directory})
    except ValidationError as error:
        findings.extend(translate(error.errors(include_url=False)))
    findings.extend(find_unusable_texts(document))
    reported = {finding.location for finding in findings}
    findings.extend(finding for finding in find_conflicts(document, directory) if finding.location not in reported)
    return Draft(document=document, directory=directory, configuration=configuration, findings=tuple(findings))


_WAYS_OUT = {
    "illegal character '\\n'": "a string ends with a quote on the line it begins on",
    "cannot overwrite a value": "a key is set once, and this one is set already",
    "cannot declare": "a table is opened once, and this one is open already",
    "invalid value": "a string stands in quotes, and true and false are written small",
    "expected '=' after a key": "a key and its value are written key = value",
}
"""What the messages of tomllib that users meet most mean for their file."""


def _syntax_problem(text: str, origin: str, message: str) -> Problem:
    """Point at the line that is not TOML; tomllib says where in its message only."""
    lines = text.splitlines()
    where = message.rpartition("(at line ")[2].partition(",")[0]
    line = int(where) if where.isdigit() else len(lines)
    value: object = lines[line - 1].strip() if 0 < line <= len(lines) else MISSING
    said = f"{message[:1].lower()}{message[1:]}"
    way_out = next((f": {advice}" for start, advice in _WAYS_OUT.items() if said.startswith(start)), "")
    return Problem(f"{origin}:{line}", value, f"TOML; {said}{way_out}")
