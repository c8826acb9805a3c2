"""The verb `status`: the state of the running proxy, once or again and again."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime

import click
from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from hotswap.cli.client import AdminClient, Json, ProxyLost
from hotswap.cli.clock import clock_words, duration_words, moment
from hotswap.cli.speaking import speaks
from hotswap.cli.terminal import output, put, put_json
from hotswap.cli.waiting import size_words, waiting_lines
from hotswap.control.telemetry.wording import counted
from hotswap.core.printable import escape_controls

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
    head = Text(f"hotswap {document['version']}, pid {document['pid']}, since {moment(document['started'])}")
    head.append(f", {document['config']}")
    parts: list[RenderableType] = [head]
    for name, listener in document["listeners"].items():
        where = " ".join(listener["bind"])
        parts.append(Text(f"listener {name}: {where}, {counted(listener['connections'], 'connection')}"))
    parts += [pool_line(name, pool) for name, pool in document["pools"].items()]
    parts.append(_backends(document, width))
    parts += [Text(escape_controls(line), style="red") for line in trouble_lines(document)]
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
        line.append(", PAUSED", style="yellow")
    if pool["locked"] is not None:
        line.append(f", LOCKED: {escape_controls(pool['locked'])}", style="bold red")
    return line


def trouble_lines(document: Json) -> Iterator[str]:
    """Say of every slot that is not well why, how often it was tried, and when it is tried again."""
    for name, pool in document["pools"].items():
        for slot in pool["slots"]:
            if not slot.get("last_error"):
                continue
            attempts, next_try = slot.get("attempts") or 0, slot.get("next_try")
            told = [f"{counted(attempts, 'attempt')} failed"] if attempts else []
            told += [f"tried again at {clock_words(next_try, datetime.now().astimezone())}"] if next_try else []
            more = f" ({', '.join(told)})" if told else ""
            yield f"{name}/{slot['slot']}: {slot['last_error']}{more}"


def _backends(document: Json, width: int) -> RenderableType:
    rows = []
    for name, pool in document["pools"].items():
        for slot in pool["slots"]:
            rows += [_cells(name, slot["slot"], one) for one in slot["backends"]]
            if not slot["backends"]:
                rows.append([name, str(slot["slot"]), "", Text("empty", style="red"), *[""] * (len(COLUMNS) - 4)])
    kept = _fitting(rows, width)
    if _needed(rows, kept) > width:
        return Group(*(_line(row) for row in rows))
    table = Table(box=None, pad_edge=False, show_edge=False, header_style="bold")
    for index in kept:
        table.add_column(COLUMNS[index], justify="right" if COLUMNS[index] in NUMERIC else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(row[index] for index in kept))
    return table


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
