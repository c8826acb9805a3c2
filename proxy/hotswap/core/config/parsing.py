"""Parses the text of a file into a configuration, or into all its problems at once.

The steps: TOML into a document of plain tables; the document into models, each key by itself; the document
against itself (`hotswap.core.config.conflicts`). All findings of the last two are reported together, and
whoever can look at the disk (`hotswap.control.configuration.loading`) adds what is missing there before anything is
raised.
"""

from __future__ import annotations

import os.path
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, replace

from pydantic import ValidationError

from hotswap.core.config.configuration import Configuration
from hotswap.core.config.conflicts import find_conflicts
from hotswap.core.config.fields import DIRECTORY
from hotswap.core.config.findings import Finding, find_unusable_texts, in_order_of, read_location, translate
from hotswap.core.config.key_lines import KeyLines
from hotswap.core.config.syntax import syntax_problem
from hotswap.core.errors import ConfigError, Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A parsed file that is not accepted yet.

    Attributes:
        text: TOML.
        origin: path of the file.
        document: the tables as TOML gives them.
        directory: where the file is; its relative paths start here.
        configuration: the models, or None when a key is wrong.
        findings: everything wrong so far.
    """

    text: str
    origin: str
    document: dict[str, object]
    directory: str
    configuration: Configuration | None
    findings: tuple[Finding, ...]

    def accept(self, more: Iterable[Finding] = ()) -> Configuration:
        """The configuration, if nothing is wrong with it.

        Args:
            more: what else was found wrong in it; of a key that is wrong already nothing more is told.

        Raises:
            ConfigError: something is wrong; it lists everything.
        """
        reported = {finding.location for finding in self.findings}
        findings = [*self.findings, *(finding for finding in more if finding.location not in reported)]
        if findings or self.configuration is None:
            raise ConfigError(in_order_of(KeyLines(self.text), self.origin, findings))
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
    except (ValueError, RecursionError) as error:
        # Not only its own kind of error: tables too deep for it and numbers with too many digits come as these.
        raise ConfigError([syntax_problem(text, origin, str(error))]) from None
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
    return Draft(
        text=text,
        origin=origin,
        document=document,
        directory=directory,
        configuration=configuration,
        findings=tuple(findings),
    )


def locate(problems: Iterable[Problem], text: str, *, origin: str) -> tuple[Problem, ...]:
    """Add file and line to problems that were found after the text was accepted, and sort all by their lines.

    Args:
        problems: some of them may know their line already.
        text: what was accepted.
        origin: path of the file.
    """
    lines = KeyLines(text)
    located = (
        problem if problem.file else replace(problem, file=origin, line=lines.of(read_location(problem.path)))
        for problem in problems
    )
    return tuple(sorted(located, key=lambda problem: problem.line))
