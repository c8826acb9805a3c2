"""The drawings of the state machines say what the tables say."""

from __future__ import annotations

import pytest

from docs.tools.state_diagrams import draw_lifecycle, draw_step, tabulate_step, write_page
from hotswap.core.lifecycle import BackendState
from hotswap.core.step_table import TABLES, StepState
from hotswap.core.strategy import Strategy


def test_every_state_of_a_backend_is_drawn():
    """As the source or the target of an edge."""
    drawing = "\n".join(draw_lifecycle())
    assert all(state.value in drawing for state in BackendState)


@pytest.mark.parametrize("strategy", Strategy)
def test_every_row_is_in_the_table_and_every_change_in_the_drawing(strategy):
    """The drawing leaves out only what changes nothing."""
    rows = list(TABLES[strategy].values())
    assert len(list(tabulate_step(rows))) == len(rows) + 2
    edges = [line for line in draw_step(rows) if ": " in line]
    assert len(edges) == sum(row.state is not row.then for row in rows)


def test_every_state_of_a_step_is_drawn_somewhere():
    """No strategy needs them all."""
    page = write_page()
    assert all(f"`{state}`" in page for state in StepState)
