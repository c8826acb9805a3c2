"""Files that people write by mistake, and what `hotswap check` says about each: where, what was found, a way out.

Every file in `broken/` begins with the mistake in words, followed by the whole answer in lines that begin with `#>`;
DIRECTORY stands for the folder.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tests.support.command_line import run_cli

BROKEN = Path(__file__).parent / "broken"
FILES = sorted(BROKEN.glob("*.toml"))

PROBLEM = re.compile(r"(?P<path>\S+|.*\.toml:\d+|\S+\"[^\"]+\"\S*) (is (?P<value>.+?)|is missing): (?P<way_out>.+)")


def answer(file: Path) -> list[str]:
    """What the file says that it should be told."""
    lines = file.read_text(encoding="utf-8").splitlines()
    return [line.removeprefix("#> ").replace("DIRECTORY", str(BROKEN)) for line in lines if line.startswith("#> ")]


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
        assert len(found["way_out"].split()) >= 2, line


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_place_that_is_named_is_in_the_file(file: Path) -> None:
    """A path of keys that leads to what was found, or to a table in which something is missing; or a line."""
    for line in answer(file):
        path = line.partition(" is ")[0]
        if path.startswith("/"):
            number = int(path.rpartition(":")[2])
            assert not file.read_text(encoding="utf-8").splitlines()[number - 1].startswith("#")
            continue
        table: object = tomllib.loads(file.read_text(encoding="utf-8"))
        parts = [part.strip('"') for part in re.findall(r'"[^"]+"|[\w-]+', path)]
        for depth, part in enumerate(parts):
            if isinstance(table, list):
                table = table[int(part)]
                continue
            assert isinstance(table, dict)
            if part not in table:
                assert "is missing" in line
                assert depth == len(parts) - 1
                break
            table = table[part]
