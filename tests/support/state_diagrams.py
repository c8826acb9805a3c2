"""Draw docs/reference/state-machines.md from the tables, so that it cannot show what the program does not do.

`make docs` runs `python -m tests.support.state_diagrams`; a test fails while the file is stale.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from proxy.core.lifecycle import TRANSITIONS, BackendState
from proxy.core.step_table import ENDS, TABLES, Row, StepState
from proxy.core.strategy import Strategy

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "state-machines.md"

HEAD = """\
# State machines

<!-- Written by `make docs` from the tables in `proxy/core`; a test fails when it is stale. -->

Every change of state of the proxy is a row of a table; what has no row cannot happen.

## The life of a backend

Health (`unknown`, `healthy`, `unhealthy`) is a second axis: a probe never changes the state.
A backend takes new exchanges while it is `ready` and `healthy`.
`backoff` is the state of a slot between two processes.
"""

STEPS = """\
## One slot's turn in a rollout

An edge reads: what happened, then what is done about it.
The tables below the drawings also hold the facts that come too late to matter; they change nothing.
"""

INTROS = {
    Strategy.DRAIN_FIRST: "The old backend drains while its replacement starts, and is readmitted if that fails.",
    Strategy.SURGE: "The replacement serves before the old backend drains.",
    Strategy.STOP_FIRST: "The old process is gone before its replacement is spawned.",
}


def words(kind: type[object]) -> str:
    """Give the name of an event or command as words: `OldExited` is "old exited"."""
    return re.sub(r"(?<!^)(?=[A-Z])", " ", kind.__name__).lower()


def node(state: str) -> str:
    """Give the name of a state in the drawing, where a hyphen would be an arrow."""
    return state.replace("-", "_")


def draw_lifecycle() -> Iterator[str]:
    """Give the lines of the drawing of a backend's life."""
    yield "```mermaid"
    yield "stateDiagram-v2"
    yield f"    [*] --> {BackendState.STARTING}"
    for before, rows in TRANSITIONS.items():
        for after, why in rows.items():
            yield f"    {before} --> {after}: {why}"
    yield f"    {BackendState.STOPPED} --> [*]"
    yield "```"


def draw_step(rows: Iterable[Row]) -> Iterator[str]:
    """Give the lines of the drawing of one strategy's steps."""
    edges = [row for row in rows if row.then is not row.state or row.commands]
    states = {state for row in edges for state in (row.state, row.then)}
    yield "```mermaid"
    yield "stateDiagram-v2"
    for state in StepState:
        if state in states and "-" in state:
            yield f'    state "{state}" as {node(state)}'
    yield f"    [*] --> {StepState.PENDING}"
    for row in edges:
        orders = ", ".join(words(command) for command in row.commands)
        label = f"{words(row.event)} / {orders}" if orders else words(row.event)
        yield f"    {node(row.state)} --> {node(row.then)}: {label}"
    for state in StepState:
        if state in ENDS:
            yield f"    {state} --> [*]"
    yield "```"


def tabulate_step(rows: Iterable[Row]) -> Iterator[str]:
    """Give the lines of the table of one strategy's steps, in the order of the states."""
    yield "| in | when | go to | and |"
    yield "|---|---|---|---|"
    order = list(StepState)
    for row in sorted(rows, key=lambda row: order.index(row.state)):
        commands = ", ".join(words(command) for command in row.commands)
        yield f"| `{row.state}` | {words(row.event)} | `{row.then}` | {commands or 'nothing'} |"


def write_page() -> str:
    """Give the whole page."""
    lines = [HEAD, *draw_lifecycle(), "", STEPS]
    for strategy, table in TABLES.items():
        rows = list(table.values())
        lines += [f"### {strategy}", "", INTROS[strategy], "", *draw_step(rows), "", *tabulate_step(rows), ""]
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(write_page(), encoding="utf-8")
