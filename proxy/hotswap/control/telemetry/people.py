"""Writes a record of the log as people read it: one line, `web/0 | …` where a backend says it, else time and words.

A warning or worse begins with its level in words, so that it stands out without colour too. What is drawn after the
line are the addresses of a proxy that is ready, and a traceback.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Final

import structlog
from structlog.typing import WrappedLogger

from hotswap.control.telemetry.wording import place_of, sentence_of
from hotswap.core.printable import escape_controls, one_line

RESET: Final = "\x1b[0m"
DIM: Final = "\x1b[2m"
READY: Final = "\x1b[1;32m"
LEVELS: Final = {"debug": DIM, "warning": "\x1b[33m", "error": "\x1b[31m", "critical": "\x1b[1;31m"}
"""Colours of levels; info has none."""

PLACES: Final = ("\x1b[36m", "\x1b[35m", "\x1b[34m", "\x1b[32m", "\x1b[33m", "\x1b[96m", "\x1b[95m", "\x1b[94m")
"""Colours of slots, by number: what two backends write at the same time can be told apart."""

INDENT: Final = "    "


class PeopleRenderer:
    """The last processor of structlog where people read: a record goes in, its line comes out.

    Args:
        colours: the reader is a terminal that has them.
    """

    def __init__(self, *, colours: bool) -> None:
        self._colours = colours

    def __call__(self, logger: WrappedLogger, method: str, event: MutableMapping[str, object]) -> str:
        """Write a record.

        Raises:
            structlog.DropEvent: another record says it as well.
        """
        name, level = str(event.get("event")), str(event.get("level", method))
        sentence = sentence_of(name, event)
        if sentence is None:
            raise structlog.DropEvent
        place = place_of(event)
        if name == "backend.output":
            return f"{self._paint(place, self._place_colour(event))} | {sentence}"
        if level in ("warning", "error", "critical"):
            sentence = f"{level}: {sentence}"
        colour = READY if name == "proxy.ready" and level == "info" else LEVELS.get(level, "")
        words = [
            self._paint(str(event.get("timestamp", "-")), DIM),
            *([self._paint(place, self._place_colour(event)) + ":"] if place else ()),
            self._paint(sentence, colour),
        ]
        return "\n".join([" ".join(words), *_below(name, event)])

    def _place_colour(self, event: Mapping[str, object]) -> str:
        slot = event.get("slot")
        return PLACES[slot % len(PLACES)] if isinstance(slot, int) else PLACES[0]

    def _paint(self, text: str, colour: str) -> str:
        return f"{colour}{text}{RESET}" if self._colours and colour else text


def _below(name: str, event: Mapping[str, object]) -> list[str]:
    """Give the lines that belong below a record."""
    if name == "proxy.ready":
        listeners, page = event.get("listeners"), event.get("page")
        links = (
            [(link, key) for key, found in listeners.items() for link in found]
            if isinstance(listeners, Mapping)
            else []
        )
        links += [(page, "admin page")] if isinstance(page, str) else []
        width = max((len(link) for link, _ in links), default=0)
        return [f"{INDENT}{one_line(link):{width}}  {one_line(key)}" for link, key in links]
    exception = event.get("exception")
    if isinstance(exception, str):
        return [INDENT + escape_controls(line) for line in exception.splitlines()]
    return []
