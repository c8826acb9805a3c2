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
from hotswap.core.pool.lifecycle import TRANSITIONS, BackendState
from hotswap.core.process.answers import ANSWERS, Verb
from hotswap.core.process.phases import PHASE_STARTS, PHASE_TABLE
from hotswap.core.rollout.step_table import TABLES, StepState
from hotswap.core.state_machine import Row, ends_of
from hotswap.core.strategy import Strategy
from hotswap.core.takeover.new import NEW_DEADLINES, NEW_TABLE, NewState
from hotswap.core.takeover.old import OLD_DEADLINES, OLD_TABLE, OldState

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


def words(of: object) -> str:
    """Give an event or command as words: `OldExited` is "old exited", and one that is a word is that."""
    return re.sub(r"(?<!^)(?=[A-Z])", " ", of.__name__).lower() if isinstance(of, type) else str(of)


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


def draw(table: Mapping[Any, AnyRow], starts: Iterable[StrEnum]) -> Iterator[str]:
    """Give the lines of the drawing of a table; rows that stay in their state are left out."""
    labels: dict[tuple[StrEnum, StrEnum, str], list[str]] = {}
    for row in table.values():
        if row.then is not row.state:
            orders = ", ".join(map(words, row.commands))
            labels.setdefault((row.state, row.then, orders), []).append(words(row.event))
    yield "```mermaid"
    yield "stateDiagram-v2"
    for state in dict.fromkeys(state for pair in labels for state in pair[:2]):
        if "-" in state:
            yield f'    state "{state}" as {node(state)}'
    for start in starts:
        yield f"    [*] --> {node(start)}"
    for (state, then, orders), events in labels.items():
        yield f"    {node(state)} --> {node(then)}: {' or '.join(events)}{f' / {orders}' if orders else ''}"
    for end in sorted(ends_of(table)):
        yield f"    {node(end)} --> [*]"
    yield "```"


def tabulate(rows: Iterable[AnyRow]) -> Iterator[str]:
    """Give the lines of a table, in the order of its states."""
    every = list(rows)
    commanding = any(row.commands for row in every)
    yield "| in | when | go to |" + " and |" * commanding
    yield "|---|---|---|" + "---|" * commanding
    states: Any = type(every[0].state)
    order = list(states)
    for row in sorted(every, key=lambda row: order.index(row.state)):
        commands = f" {', '.join(map(words, row.commands)) or 'nothing'} |" * commanding
        yield f"| `{row.state}` | {words(row.event)} | `{row.then}` |{commands}"


TAKEOVERS = """\
## A takeover

Each side has a table of its own; [why it is like this](../explanation/takeover.md).
The drawings leave out what comes too late to matter, and the deaths and broken channels that end most states in the
same way; the tables have everything.
"""


def tabulate_deadlines(deadlines: Mapping[StrEnum, float]) -> Iterator[str]:
    """Give the lines of the table of how long states may last."""
    yield "| state | seconds |"
    yield "|---|---|"
    for state, seconds in deadlines.items():
        yield f"| `{state}` | {seconds:g} |"


def write_takeovers() -> Iterator[str]:
    """Give the part of the page about takeovers."""
    yield TAKEOVERS
    sides: tuple[tuple[str, Mapping[Any, Any], StrEnum, Mapping[Any, float]], ...] = (
        ("the old process", OLD_TABLE, OldState.PREFLIGHT, OLD_DEADLINES),
        ("the new process", NEW_TABLE, NewState.GREETING, NEW_DEADLINES),
    )
    for name, table, start, deadlines in sides:
        yield from (f"### {name}", "", *write_machine(table, [start]))
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


def tabulate_answers() -> Iterator[str]:
    """Give the lines of the table of what is answered in each phase."""
    yield f"| in | {' | '.join(Verb)} |"
    yield f"|---|{'---|' * len(Verb)}"
    for phase, answers in ANSWERS.items():
        words = [answers[verb] for verb in Verb]
        told = (f"`{word}`" if isinstance(word, RefusalCode) else word.value for word in words)
        yield f"| `{phase}` | {' | '.join(told)} |"


def write_machine(table: Mapping[Any, AnyRow], starts: Iterable[StrEnum]) -> Iterator[str]:
    """Give the drawing and the table of a machine."""
    yield from (*draw(table, starts), "", *tabulate(table.values()), "")


def write_page() -> str:
    """Give the whole page."""
    lines = [HEAD, *draw_lifecycle(), "", STEPS]
    for strategy, table in TABLES.items():
        lines += [f"### {strategy}", "", INTROS[strategy], "", *write_machine(table, [StepState.PENDING])]
    lines += write_takeovers()
    lines += [PHASES, *write_machine(PHASE_TABLE, PHASE_STARTS), ANSWERED, *tabulate_answers(), ""]
    return "\n".join(lines).rstrip() + "\n"
