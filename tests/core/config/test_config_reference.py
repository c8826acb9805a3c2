"""The reference of the configuration says what the models say."""

from __future__ import annotations

from docs.tools.configuration_reference import TABLES, write_page
from hotswap.core.config import Configuration
from hotswap.core.config.schema import tables_of


def test_every_table_has_its_section():
    """A new table is not forgotten."""
    assert {model for _, model in TABLES} == set(tables_of(Configuration)) - {Configuration}


def test_no_cell_breaks_its_row():
    """Each row of each table has four cells, or three in the table of servers."""
    rows = [line for line in write_page().splitlines() if line.startswith("|")]
    assert {line.count(" | ") for line in rows if "---" not in line} <= {2, 3}
