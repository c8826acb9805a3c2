"""Describes in words what a drain waits for, and what was cut at its end."""

from __future__ import annotations

from collections.abc import Iterator

from hotswap.cli.client import Json


def size_words(number: int) -> str:
    """A number of bytes as people read it."""
    value = float(number)
    for unit in ("B", "KiB", "MiB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"


def exchange_words(exchange: Json) -> str:
    """Describe an exchange: request, client, and progress."""
    moved = f"{size_words(exchange['request_bytes'])} in, {size_words(exchange['response_bytes'])} out"
    tunnel = "a tunnel, " if exchange["tunnel"] else ""
    return f"{exchange['request_line']} from {exchange['client']}, {tunnel}{exchange['age']:.1f} s old, {moved}"


def oldest_words(backend: Json) -> str:
    """Describe the oldest exchange, and how many more there are; "" when there is none."""
    waiting = backend.get("waiting_for") or ()
    if not waiting:
        return ""
    more = backend["in_flight"] - 1
    return f"waits for {exchange_words(waiting[0])}" + (f", and {more} more" if more > 0 else "")


def waiting_lines(status: Json) -> Iterator[str]:
    """Say of every backend that drains what it waits for, a line an exchange."""
    for name, pool in status["pools"].items():
        for slot in pool["slots"]:
            for backend in slot["backends"]:
                waiting = backend.get("waiting_for") or ()
                for exchange in waiting:
                    yield f"pool {name} slot {slot['slot']} waits for {exchange_words(exchange)}"
                if waiting and backend["in_flight"] > len(waiting):
                    yield f"pool {name} slot {slot['slot']} waits for {backend['in_flight'] - len(waiting)} more"


def cut_lines(report: Json) -> Iterator[str]:
    """Say what was cut in a rollout, a line an exchange; the oldest of each slot."""
    for slot in report["slots"]:
        if not slot["exchanges"]["cut"]:
            continue
        for exchange in slot.get("waited_for", ()):
            yield f"slot {slot['slot']}: cut {exchange_words(exchange)}"
        more = slot["exchanges"]["cut"] - len(slot.get("waited_for", ()))
        if more > 0:
            yield f"slot {slot['slot']}: cut {more} more"
