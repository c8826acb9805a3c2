"""Tells whether a client would rather have HTML than plain text, by its `Accept` (RFC 9110 12.5.1).

The proxy has two forms of each of its own errors. Browsers name `text/html`; programs say `*/*`, another type or
nothing, and get the text: HTML goes to nobody who did not name it.
"""

from __future__ import annotations

import re
from typing import Final

from hotswap.core.http.messages import Head
from hotswap.core.memory import Memory

MAX_ACCEPT: Final = 1024
"""Bytes of an `Accept` that are read; those of browsers have 150."""
MAX_RANGES: Final = 32
"""Media ranges of it that are compared."""

_WEIGHT: Final = re.compile(rb"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")
_OF_TEXT: Final = (b"text/plain", b"text/*", b"*/*")
"""The ranges that plain text belongs to, the most specific first."""


def accept_field(head: Head) -> bytes:
    """What a request accepts: its `Accept` fields as one, empty where it has none."""
    values = [line[7:-2].strip(b" \t") for line in head.lines if line[:7].lower() == b"accept:"]
    return values[0] if len(values) == 1 else b",".join(values)


def told_accept(raw: bytes) -> bytes:
    """The `Accept` of a head of HTTP/1 that could not be parsed; empty where it has none, or not all of it came."""
    _, name, rest = raw.lower().partition(b"\naccept:")
    if not name:
        return b""
    value, end, _ = rest.partition(b"\n")
    return value.strip(b" \t\r") if end else b""


def _prefers_html(accept: bytes) -> bool:
    weights: dict[bytes, float] = {}
    for media_range in accept[:MAX_ACCEPT].split(b",", MAX_RANGES)[:MAX_RANGES]:
        name, *parameters = media_range.split(b";")
        weights.setdefault(name.strip(b" \t").lower(), _weight_of(parameters))
    html = weights.get(b"text/html", 0.0)
    return html > 0 and html >= next((weights[name] for name in _OF_TEXT if name in weights), 0.0)


def _weight_of(parameters: list[bytes]) -> float:
    for parameter in parameters:
        name, _, value = parameter.strip(b" \t").partition(b"=")
        if name.lower() == b"q":
            return float(value) if _WEIGHT.fullmatch(value) else 0.0
    return 1.0


prefers_html: Final = Memory(_prefers_html, entries=256, key_bytes=256).__getitem__
"""Whether text/html is named in the value of an `Accept`, with no less weight than plain text has in it."""
