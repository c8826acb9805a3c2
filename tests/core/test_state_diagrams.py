"""The drawings of the state machines say what the tables say."""

from __future__ import annotations

import pytest

from docs.tools.state_diagrams import draw, draw_lifecycle, node, tabulate, write_page
from hotswap.core.pool.lifecycle import BackendState
from hotswap.core.process.phases import PHASE_STARTS, PHASE_TABLE
from hotswap.core.rollout.step_table import TABLES, StepState


def test_every_state_of_a_backend_is_drawn():
    """As the source or the target of an edge."""
    drawing = "\n".join(draw_lifecycle())
    assert all(state.value in drawing for state in BackendState)


@pytest.mark.parametrize(
    ("table", "starts"),
    [*((table, [StepState.PENDING]) for table in TABLES.values()), (PHASE_TABLE, PHASE_STARTS)],
)
def test_every_row_is_in_the_table_and_every_change_in_the_drawing(table, starts):
    """The drawing leaves out only what changes nothing."""
    rows = list(table.values())
    assert len(list(tabulate(rows))) == len(rows) + 2
    drawing = list(draw(table, starts))
    for row in rows:
        if row.state is not row.then:
            assert any(line.startswith(f"    {node(row.state)} --> {node(row.then)}: ") for line in drawing), row


def test_every_state_of_a_step_is_drawn_somewhere():
    """No strategy needs them all."""
    page = write_page()
    assert all(f"`{state}`" in page for state in StepState)
