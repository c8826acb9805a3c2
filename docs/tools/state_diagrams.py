"""Draw docs/reference/state-machines.md from the tables, so that it cannot show what the program does not do.

`make docs` draws it; a test fails while the file is stale.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

from hotswap.core.errors import RefusalCode
from hotswap.core.lifecycle import TRANSITIONS, BackendState
from hotswap.core.process.answers import ANSWERS, Verb
from hotswap.core.process.phases import PHASE_ENDS, PHASE_STARTS, PHASE_TABLE, Phase
from hotswap.core.state_machine import Row
from hotswap.core.step_table import ENDS, TABLES, StepRow, StepState
from hotswap.core.strategy import Strategy
from hotswap.core.takeover_new import NEW_DEADLINES, NEW_ENDS, NEW_TABLE, NewState
from hotswap.core.takeover_old import OLD_DEADLINES, OLD_ENDS, OLD_TABLE, OldState

AnyRow = Row[Any, Any, Any]

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "state-machines.md"

HEAD = """\
# State machines

<!-- Written by `make docs` from the tables in `proxy/hotswap/core`; a test fails when it is stale. -->

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


def draw_step(rows: Iterable[StepRow]) -> Iterator[str]:
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


def tabulate_step(rows: Iterable[StepRow]) -> Iterator[str]:
    """Give the lines of the table of one strategy's steps, in the order of the states."""
    yield "| in | when | go to | and |"
    yield "|---|---|---|---|"
    order = list(StepState)
    for row in sorted(rows, key=lambda row: order.index(row.state)):
        commands = ", ".join(words(command) for command in row.commands)
        yield f"| `{row.state}` | {words(row.event)} | `{row.then}` | {commands or 'nothing'} |"


TAKEOVERS = """\
## A takeover

Each side has a table of its own; [why it is like this](../explanation/takeover.md).
The drawings leave out what comes too late to matter, and the deaths and broken channels that end most states in the
same way; the tables have everything.
"""


def draw_takeover(rows: Iterable[AnyRow], start: StrEnum, ends: Iterable[StrEnum]) -> Iterator[str]:
    """Give the lines of the drawing of one side of a takeover."""
    yield "```mermaid"
    yield "stateDiagram-v2"
    yield f"    [*] --> {start}"
    labels: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:
        if row.then is not row.state:
            orders = ", ".join(command.value for command in row.commands)
            labels.setdefault((row.state, row.then, orders), []).append(row.event.value)
    for (state, then, orders), events in labels.items():
        when = " or ".join(events)
        yield f"    {state} --> {then}: {when} / {orders}" if orders else f"    {state} --> {then}: {when}"
    for end in sorted(ends):
        yield f"    {end} --> [*]"
    yield "```"


def tabulate_takeover(rows: Iterable[AnyRow]) -> Iterator[str]:
    """Give the lines of the table of one side of a takeover."""
    yield "| in | when | go to | and |"
    yield "|---|---|---|---|"
    ordered = list(rows)
    states: Any = type(ordered[0].state)
    order = list(states)
    for row in sorted(ordered, key=lambda row: order.index(row.state)):
        commands = ", ".join(command.value for command in row.commands)
        yield f"| `{row.state}` | {row.event.value} | `{row.then}` | {commands or 'nothing'} |"


def tabulate_deadlines(deadlines: Mapping[StrEnum, float]) -> Iterator[str]:
    """Give the lines of the table of how long states may last."""
    yield "| state | seconds |"
    yield "|---|---|"
    for state, seconds in deadlines.items():
        yield f"| `{state}` | {seconds:g} |"


def write_takeovers() -> Iterator[str]:
    """Give the part of the page about takeovers."""
    yield TAKEOVERS
    sides: tuple[tuple[str, Mapping[Any, Any], StrEnum, Iterable[StrEnum], Mapping[Any, float]], ...] = (
        ("the old process", OLD_TABLE, OldState.PREFLIGHT, OLD_ENDS, OLD_DEADLINES),
        ("the new process", NEW_TABLE, NewState.GREETING, NEW_ENDS, NEW_DEADLINES),
    )
    for name, table, start, ends, deadlines in sides:
        rows = list(table.values())
        yield from (f"### {name}", "", *draw_takeover(rows, start, ends), "", *tabulate_takeover(rows), "")
        yield from ("How long a state may last:", "", *tabulate_deadlines(deadlines), "")


PHASES = """\
## The process

Where a proxy process is in its life.
A stop may come at any moment, and a second one ends what is going on at once.
The drawing leaves out what changes nothing.
"""

ANSWERED = """\
What is answered to an order in each phase; a code is a refusal.
Other reasons for one are in [the admin API](admin-api.md).
A signal has no answer: where a takeover decides which process has everything, it reaches that one.
"""


def draw_phases() -> Iterator[str]:
    """Give the lines of the drawing of the life of the process."""
    yield "```mermaid"
    yield "stateDiagram-v2"
    for phase in Phase:
        if "-" in phase:
            yield f'    state "{phase}" as {node(phase)}'
    for start in PHASE_STARTS:
        yield f"    [*] --> {start}"
    for row in PHASE_TABLE.values():
        if row.then is not row.state:
            yield f"    {node(row.state)} --> {node(row.then)}: {row.event}"
    for end in sorted(PHASE_ENDS):
        yield f"    {end} --> [*]"
    yield "```"


def tabulate_phases() -> Iterator[str]:
    """Give the lines of the table of phases, in the order of the phases."""
    yield "| in | when | go to |"
    yield "|---|---|---|"
    order = list(Phase)
    for row in sorted(PHASE_TABLE.values(), key=lambda row: order.index(row.state)):
        yield f"| `{row.state}` | {row.event} | `{row.then}` |"


def tabulate_answers() -> Iterator[str]:
    """Give the lines of the table of what is answered in each phase."""
    yield f"| in | {' | '.join(Verb)} |"
    yield f"|---|{'---|' * len(Verb)}"
    for phase, answers in ANSWERS.items():
        words = [answers[verb] for verb in Verb]
        told = (f"`{word}`" if isinstance(word, RefusalCode) else word.value for word in words)
        yield f"| `{phase}` | {' | '.join(told)} |"


def write_page() -> str:
    """Give the whole page."""
    lines = [HEAD, *draw_lifecycle(), "", STEPS]
    for strategy, table in TABLES.items():
        rows = list(table.values())
        lines += [f"### {strategy}", "", INTROS[strategy], "", *draw_step(rows), "", *tabulate_step(rows), ""]
    lines += write_takeovers()
    lines += [PHASES, *draw_phases(), "", *tabulate_phases(), "", ANSWERED, *tabulate_answers(), ""]
    return "\n".join(lines).rstrip() + "\n"
