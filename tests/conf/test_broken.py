"""Files that people write by mistake, and what `hotswap check` says about each: where, what was found, a way out.

Every file in `broken/` begins with the mistake in words, followed by the whole answer in lines that begin with `#>`;
FILE stands for its path and DIRECTORY for the folder.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.command_line import run_cli

BROKEN = Path(__file__).parent / "broken"
FILES = sorted(BROKEN.glob("*.toml"))

PROBLEM = re.compile(
    r"(?P<file>/.+):(?P<line>\d+): (?P<path>\S+|\S+\"[^\"]+\"\S*) must be (?P<what>.+), is (?P<found>.+)"
)


def answer(file: Path) -> list[str]:
    """What the file says that it should be told."""
    lines = file.read_text(encoding="utf-8").splitlines()
    said = [line.removeprefix("#> ") for line in lines if line.startswith("#> ")]
    return [re.sub("^FILE", str(file), line).replace("DIRECTORY", str(BROKEN)) for line in said]


def test_there_are_many_of_them() -> None:
    """A catalogue, not a sample."""
    assert len(FILES) >= 50


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_broken_file_is_answered_with_the_place_the_value_and_a_way_out(file: Path) -> None:
    """Exit code 2, all problems and nothing else, each on a line that can be acted upon."""
    checked = run_cli("check", str(file))
    assert (checked.code, checked.stdout) == (2, "")
    assert checked.stderr.splitlines() == answer(file)
    for line in checked.stderr.splitlines():
        found = PROBLEM.fullmatch(line)
        assert found, line
        assert found["file"] == str(file)
        assert len(found["what"].split()) + len(found["found"].partition("; ")[2].split()) >= 2, line


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_line_that_is_named_has_the_key(file: Path) -> None:
    """Or it is that of the table in which something is missing; the lines come in their order."""
    lines = file.read_text(encoding="utf-8").splitlines()
    numbers = []
    for text in answer(file):
        found = PROBLEM.fullmatch(text)
        assert found, text
        line = lines[int(found["line"]) - 1]
        numbers.append(int(found["line"]))
        last = re.sub(r"\[\d+\]$", "", found["path"]).rpartition(".")[2].strip('"')
        if found["path"] == "line":
            assert f", is {line.strip()};" in text
        elif not found["found"].startswith("missing"):
            assert last in line
        elif numbers[-1] > 1:
            assert line.startswith("[")
    assert numbers == sorted(numbers)
