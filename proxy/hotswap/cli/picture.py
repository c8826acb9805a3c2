"""Live table of a rollout for a terminal: one row a slot, with a bar for each of its phases.

How much of a start is left nobody knows; the bar goes by how long the starts before it took, and never fills before
the replacement is ready. That of a drain goes by what is still in flight.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich.console import Group
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from hotswap.cli.client import Json
from hotswap.cli.following import FINAL, Lines, Progress, detail_of, old_backend, phase_of
from hotswap.cli.terminal import messages
from hotswap.core.printable import escape_controls

PHASES = ("starting", "draining", "stopping")
HEADS = ("start", "drain", "stop")
"""What stands above the bars."""

CELLS = 10
"""Columns of a phase's bar."""

USUAL_SECONDS = 2.0
"""What a phase is taken to last until one was seen."""

OVER: Mapping[str, frozenset[str]] = {
    "starting": frozenset({"draining", "stopping", "done"}),
    "draining": frozenset({"starting-drained", "starting-alone", "stopping", "done"}),
    "stopping": frozenset({"done"}),
}
"""In which states of a step a phase is over."""

MARKS = {"done": ("✓", "green"), "failed": ("✗", "red"), "aborted": ("✗", "red"), "pending": ("·", "dim")}


class Picture:
    """Progress as a live table, redrawn in place."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._spinner = Spinner("dots")
        self._most: dict[tuple[int, bool], int] = {}

    def show(self, report: Json, pool: Json) -> None:
        """Draw it."""
        self._live.update(self._draw(report, pool))

    def _draw(self, report: Json, pool: Json) -> Group:
        steps = report["slots"]
        grid = Table.grid(padding=(0, 1))
        grid.add_column()
        grid.add_column(no_wrap=True)
        for _ in PHASES:
            grid.add_column(no_wrap=True)
        grid.add_column(overflow="fold")
        grid.add_row("", "", *(Text(head, style="dim") for head in HEADS), "")
        usual = usual_seconds(steps)
        for step in steps:
            state = step["state"]
            key = (step["slot"], bool(step.get("rollback")))
            old = old_backend(step, pool)
            flying = old["in_flight"] if old else 0
            self._most[key] = max(self._most.get(key, 0), flying)
            shares = phase_shares(step, report["seconds"], flying, self._most[key], usual)
            mark, style = MARKS.get(state, ("", ""))
            name = f"slot {step['slot']}" + (" back" if step.get("rollback") else "")
            words = Text(self._words(step, report["strategy"]), style="dim" if state == "pending" else style)
            if detail := "" if state in FINAL else detail_of(step, pool):
                words.append(f": {escape_controls(detail)}", style="yellow")
            bars = (bar(share, state, phase) for phase, share in zip(PHASES, shares, strict=True))
            grid.add_row(Text(mark, style=style) if mark else self._spinner, name, *bars, words)
        return Group(self._head(report), grid)

    @staticmethod
    def _head(report: Json) -> Text:
        steps = [step for step in report["slots"] if not step.get("rollback")]
        done = sum(step["state"] == "done" for step in steps)
        head = Text(f"pool {report['pool']}, rollout {report['id']}, {report['strategy']}", style="bold")
        return head.append(f": {done} of {len(steps)} slots, {report['seconds']:.0f} s", style="not bold")

    @staticmethod
    def _words(step: Json, strategy: str) -> str:
        if step["state"] == "done":
            generations = f"generation {step['old_generation']} to {step['new_generation']}"
            killed = ", killed" if step.get("killed") else ""
            return f"{generations} in {step['seconds']['total']:.1f} s{killed}"
        if step["state"] == "failed" and step.get("reason"):
            return f"failed: {step['reason']}"
        return phase_of(step, strategy)


def usual_seconds(steps: list[Json]) -> dict[str, float]:
    """Mean duration of each phase in the turns that are done."""
    usual = {}
    for phase in PHASES:
        seen = [step["seconds"][phase] for step in steps if step["state"] == "done"]
        usual[phase] = max(0.2, sum(seen) / len(seen)) if seen else USUAL_SECONDS
    return usual


def phase_shares(
    step: Json, now: float, flying: int, most: int, usual: Mapping[str, float]
) -> tuple[float, float, float]:
    """Completed share of each phase, from 0 to 1.

    Args:
        step: the turn of the slot.
        now: seconds since the rollout began.
        flying: exchanges that the drain still waits for.
        most: as many as it ever waited for.
        usual: seconds that each phase takes.
    """

    def share(phase: str) -> float:
        if step["state"] in OVER[phase]:
            return 1.0
        began: float | None = step["offsets"].get(phase)
        if began is None or step["state"] in FINAL:
            return 0.0
        if phase == "draining":
            return 1.0 - flying / most if most else 0.0
        elapsed = max(0.0, now - began)
        # Half of it when it has taken as long as usual or less, and ever slower from then on.
        return min(0.95, elapsed / (elapsed + usual[phase]) * 1.2)

    return share("starting"), share("draining"), share("stopping")


def bar(share: float, state: str, phase: str) -> Text:
    """Draw the bar of a phase."""
    full = round(share * CELLS)
    style = {"done": "green", "failed": "red", "aborted": "red"}.get(state) or (
        "cyan" if phase == "starting" else "yellow"
    )
    return Text.assemble(("━" * full, style), ("─" * (CELLS - full), "dim"))


@contextmanager
def open_progress() -> Iterator[Progress]:
    """Choose the display for standard error: a live table on a terminal, lines elsewhere."""
    if not sys.stderr.isatty():
        yield Lines().show
        return
    # What it shows at the end stays: how long each slot took.
    with Live(console=messages(), refresh_per_second=8, redirect_stdout=False, redirect_stderr=False) as live:
        yield Picture(live).show
