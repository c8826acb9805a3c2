"""The verb `rollouts`: prints the reports of rollouts."""

from __future__ import annotations

from collections.abc import Iterator

import click
from rich.table import Table
from rich.text import Text

from hotswap.cli.client import AdminClient, Json, path_of
from hotswap.cli.clock import moment
from hotswap.cli.following import summary, why_ended
from hotswap.cli.speaking import speaks
from hotswap.cli.terminal import output, put, put_json
from hotswap.cli.waiting import cut_lines

PHASES = ("starting", "draining", "stopping", "total")
COUNTS = ("drained", "held", "retried", "cut")
COLUMNS = ("slot", "gen", "state", *PHASES, *COUNTS, "longest delay")


@click.command()
@click.argument("rollout", required=False)
@click.option("--json", "as_json", is_flag=True, help="As the admin API gives it.")
@speaks
def rollouts(client: AdminClient, rollout: str | None, as_json: bool) -> None:
    """Show the last rollouts, or the whole report of one ROLLOUT."""
    if rollout is None:
        document = client.get("/v1/rollouts")
        if as_json:
            put_json(document)
            return
        for report in document["rollouts"]:
            put(f"{moment(report['started'])} {summary(report)}")
        return
    report = client.get(path_of("v1", "rollouts", rollout))
    if as_json:
        put_json(report)
    else:
        show_report(report)


def show_report(report: Json) -> None:
    """Print a report for a person: how it went, each slot with its phases and exchanges, what failed or was cut."""
    put(f"{summary(report)}, {report['strategy']}, by {report['trigger']}, since {moment(report['started'])} UTC")
    if report["reason"]:
        put(why_ended(report))
    console = output()
    table = _table(report["slots"])
    # Wherever it does not fit, each slot has lines instead: a number that is cut is a wrong one.
    if table.__rich_measure__(console, console.options).minimum <= console.width:
        console.print(table)
    else:
        for slot in report["slots"]:
            for line in slot_lines(slot):
                put(line)
    for line in cut_lines(report):
        put(line)
    for line in report["output"]:
        put(f"  {line}")


def _table(slots: list[Json]) -> Table:
    table = Table(box=None, pad_edge=False, show_edge=False, header_style="bold")
    for column in COLUMNS:
        table.add_column(column, justify="left" if column in {"slot", "state"} else "right", no_wrap=True)
    for slot in slots:
        table.add_row(*(Text(cell) for cell in _cells(slot)))
    return table


def slot_lines(slot: Json) -> Iterator[str]:
    """The report of a slot for a narrow terminal: how it went, its phases, and what became of its exchanges."""
    number, generations, state, *rest = _cells(slot)
    told = dict(zip(COLUMNS[3:], rest, strict=True))
    yield f"slot {number}: {state}, generation {generations}, {told['total']}"
    yield "  " + ", ".join(f"{phase} {told[phase]}" for phase in PHASES if phase != "total")
    yield "  " + ", ".join(f"{told[count]} {count}" for count in COUNTS) + f", longest delay {told['longest delay']}"


def _cells(slot: Json) -> list[str]:
    return [
        f"{slot['slot']} back" if slot["rollback"] else str(slot["slot"]),
        f"{slot['old_generation']} to {slot['new_generation']}",
        f"{slot['state']}, killed" if slot["killed"] else slot["state"],
        *(f"{slot['seconds'][phase]:.1f} s" for phase in PHASES),
        *(str(slot["exchanges"][key]) for key in COUNTS),
        f"{slot['exchanges']['longest_delay']:.1f} s",
    ]
