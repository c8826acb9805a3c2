"""The verb `status`: the state of the running proxy, once or again and again."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Literal

import click
from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from hotswap.cli.client import AdminClient, Json, ProxyLost
from hotswap.cli.clock import duration_words, moment
from hotswap.cli.speaking import speaks
from hotswap.cli.terminal import output, put, put_json
from hotswap.cli.waiting import size_words, waiting_lines
from hotswap.control.telemetry.wording import counted
from hotswap.core.printable import escape_controls, one_line

WATCH_INTERVAL = 1.0
"""Seconds between two looks."""

RECONNECT_TIMEOUT = 10.0
"""Seconds for which `--watch` looks for a proxy that went away, such as one that is restarted."""

COLUMNS = ("pool", "slot", "gen", "state", "health", "in flight", "conns", "pid", "memory", "up", "release", "address")

NUMERIC = {"slot", "gen", "in flight", "conns", "pid", "memory", "up"}

DISPENSABLE = ("address", "release", "conns", "memory", "pid", "up", "gen")
"""Columns that a terminal too narrow for all of them does without, these first."""

STATE_STYLES = {"ready": "green", "starting": "cyan", "draining": "yellow", "stopping": "yellow", "failed": "red"}
HEALTH_STYLES = {"healthy": "green", "unhealthy": "red"}


@click.command()
@click.option("--watch", is_flag=True, help="Show it again and again, until interrupted.")
@click.option("--json", "as_json", is_flag=True, help="As GET /v1/status gives it; with --watch one line each time.")
@speaks
def status(client: AdminClient, watch: bool, as_json: bool) -> None:
    """Show pools, slots, backends and listeners."""
    if not watch:
        document = client.get("/v1/status")
        if as_json:
            put_json(document)
        else:
            show_status(document)
        return
    with suppress(KeyboardInterrupt):
        _watch(client, as_json=as_json)


def _watch(client: AdminClient, *, as_json: bool) -> None:
    if as_json:
        for document in _looks(client):
            put_json(document, indent=None)
    elif sys.stdout.isatty():
        console = output(wrap=True)
        with Live(console=console, auto_refresh=False, screen=True) as live:
            for document in _looks(client):
                live.update(render_status(document, console.width), refresh=True)
    else:
        for document in _looks(client):
            show_status(document)
            put("")


def show_status(document: Json) -> None:
    """Print the state as tables."""
    console = output(wrap=sys.stdout.isatty())
    console.print(render_status(document, console.width))


def _looks(client: AdminClient) -> Iterator[Json]:
    lost_since: float | None = None
    while True:
        try:
            document = client.get("/v1/status")
        except ProxyLost:
            lost_since = lost_since or time.monotonic()
            if time.monotonic() - lost_since > RECONNECT_TIMEOUT:
                raise
        else:
            lost_since = None
            yield document
        time.sleep(WATCH_INTERVAL)  # noqa: TID251  # nothing else runs in this process


def render_status(document: Json, width: int) -> RenderableType:
    """Lay the state out in so many columns."""
    head = Text(f"hotswap {document['version']}, pid {document['pid']}, since {moment(document['started'])} UTC")
    head.append(f", {document['config']}")
    if document["stopping"]:
        head.append(", STOPPING", style="bold yellow")
    parts: list[RenderableType] = [head]
    for name, listener in document["listeners"].items():
        where = " ".join(listener["bind"])
        parts.append(Text(f"listener {name}: {where}, {counted(listener['connections'], 'connection')}"))
    parts += [certificate_line(one) for one in document.get("certificates", ())]
    for name, pool in document["pools"].items():
        parts.append(pool_line(name, pool))
        parts += [Text(f"  {line}", style="bold") for line in ways_out(name, pool)]
    parts += _backends(document, width)
    parts += [Text(escape_controls(line), style="yellow") for line in waiting_lines(document)]
    return Group(*parts)


def pool_line(name: str, pool: Json) -> Text:
    """The state of a pool, in one line."""
    ready = sum(
        any(one["state"] == "ready" and one["health"] == "healthy" for one in slot["backends"])
        for slot in pool["slots"]
    )
    line = Text(f"pool {name}: ")
    line.append(f"{ready} of {pool['size']} slots ready", style="" if ready == pool["size"] else "yellow")
    line.append(f", generation {pool['generation']}" if pool["supervised"] else ", static")
    if pool.get("compatibility") is not None:
        line.append(f", compatibility {pool['compatibility']}")
    if pool["held"]:
        line.append(f", {counted(pool['held'], 'request')} held", style="yellow")
    if pool["rollout"] is not None:
        line.append(f", rollout {pool['rollout']} in progress", style="cyan")
    if pool["paused"]:
        line.append(f", PAUSED{answered(pool)}", style="yellow")
    if pool["locked"] is not None:
        line.append(f", LOCKED: {escape_controls(pool['locked'])}", style="bold red")
    return line


def answered(pool: Json) -> str:
    """What the requests for a paused pool get, behind a colon; empty where they are held."""
    answer = pool.get("answer")  # which an older proxy does not say
    return "" if answer is None else f": answered {answer['status']}{' with a page' if answer['page'] else ''}"


def ways_out(name: str, pool: Json) -> Iterator[str]:
    """What brings a pool back to serving with all it has, as the verbs to type: who reads this at night knows none."""
    repair = repair_of(name, pool)
    if repair is not None:
        yield repair
    for number in (slot["slot"] for slot in pool["slots"] if slot.get("drained")):
        yield f"slot {number} was drained by an operator; to bring it back: hotswap readmit {name} {number}"
    if pool["paused"]:
        what = answered(pool).removeprefix(": ") or "held"
        yield f"its requests are {what}; to let them go on: hotswap resume {name}"


def repair_of(name: str, pool: Json) -> str | None:
    """What to type once the release of a pool that is locked, or whose starts fail, is repaired; None: it is well."""
    if pool["locked"] is not None:
        return f"once repaired: hotswap unlock {name}, then hotswap reload {name}"
    failing = any(slot.get("last_error") is not None and slot.get("attempts") for slot in pool["slots"])
    return f"once repaired: hotswap reload {name}" if failing and pool["rollout"] is None else None


def _backends(document: Json, width: int) -> list[RenderableType]:
    """The table of backends, with why a slot is not well below its row."""
    rows: list[list[str | Text]] = []
    errors: dict[int, Text] = {}
    for name, pool in document["pools"].items():
        for slot in pool["slots"]:
            rows += [_cells(name, slot["slot"], one) for one in slot["backends"]]
            if not slot["backends"]:
                rows.append([name, str(slot["slot"]), "", Text("empty", style="red"), *[""] * (len(COLUMNS) - 4)])
            if slot.get("last_error") is not None:
                errors[len(rows) - 1] = error_line_of(slot)
    kept = _fitting(rows, width)
    if _needed(rows, kept) > width:
        return [
            line for number, row in enumerate(rows) for line in (_line(row), errors.get(number)) if line is not None
        ]
    widths = [max(cell_len(str(text)) for text in (COLUMNS[index], *(row[index] for row in rows))) for index in kept]
    parts: list[RenderableType] = [_table(kept, widths, [])]
    pending: list[list[str | Text]] = []
    for number, row in enumerate(rows):
        pending.append(row)
        if number in errors:
            # No cell may hold it: it is as long as a line.
            parts += [_table(kept, widths, pending, head=False), errors[number]]
            pending = []
    return [*parts, *([_table(kept, widths, pending, head=False)] if pending else [])]


def _table(kept: list[int], widths: list[int], rows: list[list[str | Text]], *, head: bool = True) -> Table:
    table = Table(box=None, pad_edge=False, show_edge=False, header_style="bold", show_header=head)
    for index, width in zip(kept, widths, strict=True):
        justify: Literal["left", "right"] = "right" if COLUMNS[index] in NUMERIC else "left"
        table.add_column(COLUMNS[index], justify=justify, no_wrap=True, min_width=width)
    for row in rows:
        table.add_row(*(row[index] for index in kept))
    return table


def error_line_of(slot: Json) -> Text:
    """Why a slot is not well, how often it was tried in vain, and when it is tried again."""
    words = f"  {one_line(str(slot['last_error']))}"
    if attempts := slot.get("attempts"):
        what = "failed start" if attempts == slot.get("failed_starts", attempts) else "failure"
        words += f"; {counted(attempts, what)} in a row"
    if slot.get("next_try"):
        words += f"; next try at {moment(slot['next_try'])} UTC"
    return Text(words, style="red")


def certificate_line(certificate: Json) -> Text:
    """A certificate with its names and its end."""
    names = escape_controls(" ".join(certificate["names"])) or "no name"
    return Text(f"certificate of {certificate['listener']}: {names}, until {moment(certificate['expires'])} UTC")


def _fitting(rows: list[list[str | Text]], width: int) -> list[int]:
    """Choose the columns that fit whole: what is cut at its end, such as a path, says nothing."""
    kept = list(range(len(COLUMNS)))
    for name in DISPENSABLE:
        if _needed(rows, kept) <= width:
            break
        kept.remove(COLUMNS.index(name))
    return kept


def _needed(rows: list[list[str | Text]], kept: list[int]) -> int:
    """Columns of the terminal that these columns of the table take, with the gaps between them."""
    widths = [max(cell_len(str(text)) for text in (COLUMNS[index], *(row[index] for row in rows))) for index in kept]
    return sum(widths) + 2 * (len(kept) - 1)


def _line(row: list[str | Text]) -> Text:
    """A backend without a table, where even the narrowest does not fit: place, state, health and what is in flight."""
    pool, slot, _, state, health, in_flight, *_ = row
    words = Text.assemble(f"{pool}/{slot} ", state, " ", health)
    return words.append(f" {in_flight} in flight") if str(in_flight) else words


def _cells(pool: str, slot: int, backend: Json) -> list[str | Text]:
    def cell(key: str) -> str:
        value = backend.get(key)
        return "-" if value is None else escape_controls(str(value))

    return [
        pool,
        str(slot),
        cell("generation"),
        Text(cell("state"), style=STATE_STYLES.get(cell("state"), "")),
        Text(cell("health"), style=HEALTH_STYLES.get(cell("health"), "")),
        cell("in_flight"),
        cell("connections"),
        cell("pid"),
        size_words(backend["memory"]) if backend.get("memory") else "-",
        duration_words(backend["uptime"]) if backend.get("uptime") is not None else "-",
        cell("release"),
        cell("address"),
    ]
