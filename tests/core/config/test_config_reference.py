"""The reference of the configuration says what the models say."""

from __future__ import annotations

from docs.tools.configuration_reference import TABLES, write_page
from hotswap.core.config import configuration_schema


def test_every_table_has_its_section():
    """A new table is not forgotten."""
    tables = {name for name, definition in configuration_schema()["$defs"].items() if "properties" in definition}
    assert {model.__name__ for _, model in TABLES} == tables


def test_no_cell_breaks_its_row():
    """Each row of each table has four cells, or three in the table of servers."""
    rows = [line for line in write_page().splitlines() if line.startswith("|")]
    assert {line.count(" | ") for line in rows if "---" not in line} <= {2, 3}
