"""The page about rollouts and the tests of the checklists go together, row by row."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "explanation" / "rollout.md"


@pytest.mark.parametrize(
    ("title", "tests"),
    [
        ("What pump.io promised", "test_pumpio_checklist.py"),
        ("What pump.io left unsolved", "test_pumpio_unsolved.py"),
    ],
)
def test_each_row_of_the_page_is_held_by_a_test_of_its_number(title: str, tests: str):
    """No row without a test, no test without a row, in the same order."""
    section = PAGE.read_text(encoding="utf-8").partition(f"## {title}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (\d+) \|", section, re.MULTILINE)
    source = (ROOT / "tests" / "e2e" / tests).read_text(encoding="utf-8")
    assert rows == re.findall(r"^async def test_row_(\d+)_", source, re.MULTILINE)
    assert rows
