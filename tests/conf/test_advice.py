"""Advice of messages, followed to the letter: what is told to be written, added, moved or left out is right then.

The files of `broken/` are edited by what is said about them and by nothing else, until nobody has anything to say. Of
some mistakes only their author knows what was meant; those are listed, so that a message without advice is a decision.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hotswap.core.config import parse_draft
from hotswap.core.errors import ConfigError, Problem, written

BROKEN = Path(__file__).parent / "broken"
FILES = sorted(BROKEN.glob("*.toml"))

WITHOUT_ADVICE = {
    *("address-taken-twice", "port-too-high", "host-with-blanks"),  # any other address would do
    *("route-among-many", "route-twice", "strategy-unknown", "server-far-fetched"),  # as would others of a few
    *("health-expect", "redirect-status", "size-zero", "tls-too-old"),
    *("many-at-once", "home-of-a-shell"),  # size = "many"; the home of whom
    *("not-toml", "inside-a-value", "braces-over-lines"),  # a quote or bracket is missing, and nobody can tell where
}
"""What was meant is known to the author alone; it is said what there is to choose from."""

ON_DISK = {"certificate-missing", "directory-is-file", "directory-missing", "python-missing", "user-unknown"}
"""The text is good; files and users are missing, which are no matter of an edit."""

ROUNDS = 12


def problems(text: str) -> tuple[Problem, ...]:
    try:
        parse_draft(text, origin="/etc/hotswap/hotswap.toml").accept()
    except ConfigError as error:
        return error.problems
    return ()


def follow(text: str, problem: Problem) -> str | None:
    """Edit a text as a problem of it advises; None where it says nothing that can be done without thinking."""
    for pattern, edit in (
        (r"(?:^|[:;] )write (\S+ = .+|# .+)$", _replace_line),
        (r"(?:^|[:;] )write (\[\[\w+\]\])", _replace_line),
        (r"(?:^|[:;] )write (\[[\w.]+\]) above the keys", _replace_line),
        (r"(?:^|[:;] )write (\[[\w.]+\]) above it", _insert_above),
        (r'(?:^|[:;] )write (\[.*\]|\{.*?\}(?= for|,|$)|"[^"]*"|[\w-]+)', _replace_value),
        (r'; did you mean ("[^"]*")', _replace_value),
        (r"(?:^|[:;] )add \[\[routes\]\] and, below it, (pool = .+)$", _append_route),
        (r"(?:^|[:;] )(?:add|set) (\w+ = (?:\[.*?\]|\"[^\"]*\"))", _insert_below),
        (r"the least is (.+), each on a line", _prepend),
        (r"^spelt (\w+)", _rename),
        (r"^in \[([\w.-]+)\]", _move),
        (r"^(left out)|(remove one) of the two", _remove),
    ):
        told = re.search(pattern, problem.allowed)
        if told is not None:
            return "\n".join(edit(text.split("\n"), problem, told[1]))
    return None


def _replace_line(lines: list[str], problem: Problem, told: str) -> list[str]:
    return _with_line(lines, problem, told)


def _replace_value(lines: list[str], problem: Problem, told: str) -> list[str]:
    found = written(problem.value)
    if problem.path.endswith(f".{found}"):  # a name, which stands wherever it is named
        return [
            line.replace(found, told) if line.startswith("[") else line.replace(found, f'"{told}"') for line in lines
        ]
    return _with_line(lines, problem, lines[problem.line - 1].replace(found, told))


def _append_route(lines: list[str], _problem: Problem, told: str) -> list[str]:
    return [*lines, "[[routes]]", told]


def _insert_below(lines: list[str], problem: Problem, told: str) -> list[str]:
    return [*lines[: problem.line], told, *lines[problem.line :]]


def _insert_above(lines: list[str], problem: Problem, told: str) -> list[str]:
    return [*lines[: problem.line - 1], told, *lines[problem.line - 1 :]]


def _prepend(lines: list[str], _problem: Problem, told: str) -> list[str]:
    return [*re.split(r", (?=routes)| and (?=pools)", told), *lines]


def _rename(lines: list[str], problem: Problem, told: str) -> list[str]:
    key = problem.path.rpartition(".")[2]
    return _with_line(lines, problem, re.sub(rf"\b{key}\b", told, lines[problem.line - 1], count=1))


def _move(lines: list[str], problem: Problem, told: str) -> list[str]:
    """Move a line right below the header of its table, which is made where there is none."""
    header = f"[{told}]".replace("NAME", "shop")
    line, rest = lines[problem.line - 1], _with_line(lines, problem, "")
    if header not in rest:
        return [*rest, header, line]
    index = rest.index(header)
    return [*rest[: index + 1], line, *rest[index + 1 :]]


def _remove(lines: list[str], problem: Problem, _told: str) -> list[str]:
    at = problem.line - 1
    if lines[at].startswith("["):
        return [*lines[:at], *lines[at + 2 :]]  # a table of one key
    return _with_line(lines, problem, "")


def _with_line(lines: list[str], problem: Problem, line: str) -> list[str]:
    return [*lines[: problem.line - 1], line, *lines[problem.line :]]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_who_follows_the_advice_ends_with_a_file_that_is_right(file: Path) -> None:
    """Each edit removes the problem that advised it, and no edit leads to a problem without advice."""
    text = file.read_text(encoding="utf-8")
    for _ in range(ROUNDS):
        found = problems(text)
        if not found:
            break
        advised = [(problem, after) for problem in found if (after := follow(text, problem)) is not None]
        if not advised:
            break
        problem, after = advised[0]
        assert str(problem) not in map(str, problems(after)), after
        text = after
    left = [str(problem) for problem in problems(text)]
    assert bool(left) is (file.stem in WITHOUT_ADVICE), f"{left}\n{text}"


def test_what_is_listed_is_there() -> None:
    """A list of exceptions that names none any more is a lie."""
    stems = {file.stem for file in FILES}
    assert stems >= WITHOUT_ADVICE | ON_DISK
    for stem in ON_DISK:
        assert problems((BROKEN / f"{stem}.toml").read_text(encoding="utf-8")) == ()
