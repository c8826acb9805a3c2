"""The reference of the configuration says what the models say."""

from __future__ import annotations

from hotswap.core.config import Configuration
from hotswap.core.config.schema import tables_of
from tests.support.configuration_reference import PAGE, TABLES, write_page


def test_the_page_is_not_stale():
    """`make docs` writes it anew."""
    assert PAGE.read_text(encoding="utf-8") == write_page(), "run make docs"


def test_every_table_has_its_section():
    """A new table is not forgotten."""
    assert {model for _, model in TABLES} == set(tables_of(Configuration)) - {Configuration}


def test_no_cell_breaks_its_row():
    """Each row of each table has four cells, or three in the table of servers."""
    rows = [line for line in write_page().splitlines() if line.startswith("|")]
    assert {line.count(" | ") for line in rows if "---" not in line} <= {2, 3}
