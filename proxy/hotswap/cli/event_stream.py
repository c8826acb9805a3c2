"""The verb `events`: the changes of the running proxy, the last ones first, then each as it comes."""

from __future__ import annotations

import json
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime

import click
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from hotswap.cli.client import AdminClient, EventStream, Json, ProxyLost
from hotswap.cli.clock import clock_words
from hotswap.cli.following import summary
from hotswap.cli.speaking import speaks
from hotswap.cli.terminal import output, put, put_json, tell
from hotswap.control.telemetry.wording import place_of, sentence_of

LAST = 20
"""How many of the events before now are shown first."""

RETRY = 1.0
"""Seconds between two attempts to find the proxy again."""

RECONNECT_TIMEOUT = 10.0
"""Seconds for which a proxy that went away is looked for, such as one that is restarted."""

GOOD = frozenset(
    {"backend.ready", "backend.readmitted", "proxy.ready", "rollout.done", "takeover.done", "pool.unlocked"}
)
BAD = frozenset(
    {"backend.failed", "backend.not_started", "config.invalid", "pool.hopeless", "pool.locked", "rollout.failed",
     "rollout.refused", "rollout.slot_failed", "takeover.failed", "backend.drain_timed_out"}
)  # fmt: skip
"""Kinds that are coloured."""


@click.command()
@click.option("--after", type=click.IntRange(min=0), metavar="ID", help="Begin after this event; 0: all that are kept.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@speaks
def events(client: AdminClient, after: int | None, as_json: bool) -> None:
    """Show the last 20 changes of state, then each as it happens, until interrupted."""
    show: Callable[[Json], None]
    if as_json:
        show, wanted = lambda event: put_json(event, indent=None), _everything
    elif sys.stdout.isatty():
        show, wanted = _draw, _told
    else:
        show, wanted = lambda event: put(event_line(event)), _everything
    with suppress(KeyboardInterrupt):
        for event in _follow(client, after, wanted):
            show(event)


def _everything(event: Json) -> bool:
    return True


def _told(event: Json) -> bool:
    return event_words(event) is not None


def _follow(client: AdminClient, after: int | None, wanted: Callable[[Json], bool]) -> Iterator[Json]:
    """Give those events that are wanted, also of the proxy that comes after this one."""
    lost_since: float | None = None
    connected = False
    while True:
        try:
            with client.open_events(after or 0) as stream:
                lost_since, connected = None, True
                for event in _tail(stream, wanted) if after is None else stream:
                    after = event.get("id", after)
                    if wanted(event):
                        yield event
        except ProxyLost:
            if not connected or (lost_since is not None and time.monotonic() - lost_since > RECONNECT_TIMEOUT):
                raise
        # Who follows a proxy over its restart wants the events of the new one, too.
        if lost_since is None:
            lost_since = time.monotonic()
            tell("the event stream has ended; looking for the proxy again")
        time.sleep(RETRY)  # noqa: TID251  # nothing else runs in this process


def _tail(stream: EventStream, wanted: Callable[[Json], bool]) -> Iterator[Json]:
    """Give the last ones of those that were there when the stream was opened, then each that comes."""
    kept: deque[Json] = deque(maxlen=LAST)
    newest = stream.newest or 0
    before = newest > 0
    for event in stream:
        if not before:
            yield event
            continue
        number = event.get("id")
        if number is None:
            continue  # that older ones are not kept
        if number <= newest:
            if wanted(event):
                kept.append(event)
            if number < newest:
                continue
        yield from kept
        before = False
        if number > newest:
            yield event


def event_line(event: Json) -> str:
    """An event as one line: time, name, and the rest as key-values; of a report only the outcome."""
    words = [str(event.get("at", "-")), str(event.get("kind", "-"))]
    for key, value in event.items():
        if key in {"id", "at", "kind"} or value is None or value in ("", [], {}):
            continue
        if key == "report" and isinstance(value, dict):
            words.append(f"{key}={json.dumps(summary(value), ensure_ascii=False)}")
        elif isinstance(value, str):
            quoted = any(letter.isspace() or letter in '"=' for letter in value)
            words.append(f"{key}={json.dumps(value, ensure_ascii=False) if quoted else value}")
        else:
            words.append(f"{key}={json.dumps(value, ensure_ascii=False)}")
    return " ".join(words)


def event_words(event: Json) -> str | None:
    """An event in words, with the place it is about; None where another event says it as well."""
    sentence = sentence_of(str(event.get("kind", "-")), event)
    if sentence is None:
        return None
    place = place_of(event)
    return f"{place}: {sentence}" if place else sentence


def draw_event(event: Json, now: datetime) -> Table:
    """Lay an event out for a terminal: the local time, and words beside it, however many lines they take."""
    kind = str(event.get("kind"))
    style = "green" if kind in GOOD else "red" if kind in BAD else ""
    moment = clock_words(event.get("at"), now)
    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True, width=cell_len(moment))
    grid.add_column(overflow="fold")
    grid.add_row(Text(moment, style="dim"), Text(event_words(event) or "", style=style))
    return grid


def _draw(event: Json) -> None:
    output(wrap=True).print(draw_event(event, datetime.now().astimezone()))
