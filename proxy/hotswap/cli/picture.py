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
from hotswap.control.telemetry.wording import counted
from hotswap.core.printable import escape_controls

PHASES = ("starting", "draining", "stopping")
HEADS = ("start", "drain", "stop")
"""What stands above the bars."""

CELLS = 10
"""Columns of a phase's bar where there is room."""

FEW_CELLS = 5
"""The same on a terminal narrower than `WIDE` columns; on one narrower than `NARROW` there are words alone."""

WIDE = 100
NARROW = 72

SPARE_LINES = 5
"""Lines of a terminal that the slots leave free: head, columns, what else there is, that of the cursor, and the prompt.
"""

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
        console = self._live.console
        self._live.update(self.draw(report, pool, width=console.width, height=console.height))

    def draw(self, report: Json, pool: Json, *, width: int, height: int) -> Group:
        """Lay it out in so many columns and lines: narrow terminals get words without bars, low ones fewer slots."""
        steps = report["slots"]
        cells = CELLS if width >= WIDE else FEW_CELLS if width >= NARROW else 0
        grid = Table.grid(padding=(0, 1))
        grid.add_column()
        grid.add_column(no_wrap=True)
        for _ in PHASES if cells else ():
            grid.add_column(no_wrap=True)
        grid.add_column(overflow="fold")
        if cells:
            grid.add_row("", "", *(Text(head, style="dim") for head in HEADS), "")
        usual = usual_seconds(steps)
        shown = shown_steps(steps, max(1, height - SPARE_LINES))
        for step in shown:
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
            bars = [bar(share, state, phase, cells) for phase, share in zip(PHASES, shares, strict=True)]
            grid.add_row(Text(mark, style=style) if mark else self._spinner, name, *(bars if cells else ()), words)
        more = [Text(f"and {counted(len(steps) - len(shown), 'other slot')}", style="dim")]
        # The cursor waits on a line of its own: a ^C that is echoed behind a full one would go on in the next, and what
        # is drawn after it would begin a line too low.
        rest = [Text()] if report["outcome"] == "running" else []
        return Group(self._head(report), grid, *(more if len(shown) < len(steps) else ()), *rest)

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


def shown_steps(steps: list[Json], most: int) -> list[Json]:
    """Choose the turns that are shown where there is no room for all, in their order: first those that go on or failed.

    Then come those that are done, the last ones first, and those that wait.
    """

    def rank(item: tuple[int, Json]) -> tuple[int, int]:
        place, step = item
        match step["state"]:
            case "done":
                return 1, -place
            case "pending":
                return 2, place
            case _:
                return 0, place

    return [step for _, step in sorted(sorted(enumerate(steps), key=rank)[:most], key=lambda item: item[0])]


def bar(share: float, state: str, phase: str, cells: int = CELLS) -> Text:
    """Draw the bar of a phase in so many columns."""
    full = round(share * cells)
    style = {"done": "green", "failed": "red", "aborted": "red"}.get(state) or (
        "cyan" if phase == "starting" else "yellow"
    )
    return Text.assemble(("━" * full, style), ("─" * (cells - full), "dim"))


@contextmanager
def open_progress() -> Iterator[Progress]:
    """Choose the display for standard error: a live table on a terminal, lines elsewhere."""
    if not sys.stderr.isatty():
        yield Lines().show
        return
    # What it shows at the end stays: how long each slot took.
    with Live(console=messages(wrap=True), refresh_per_second=8, redirect_stdout=False, redirect_stderr=False) as live:
        yield Picture(live).show
