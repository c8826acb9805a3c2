"""The log as people read it."""

from __future__ import annotations

import pytest
import structlog

from hotswap.control.telemetry.people import PeopleRenderer


def written(colours: bool = False, **record: object) -> str:
    """Give what is written of a record."""
    return PeopleRenderer(colours=colours)(None, "info", {"level": "info", "timestamp": "12:00:05", **record})


def test_a_line_of_a_backend_begins_with_its_place() -> None:
    """And is otherwise what it wrote, however long."""
    line = "  INFO:\tup " + "x" * 5000
    assert written(event="backend.output", pool="web", slot=0, line=line, pid=7) == f"web/0 | {line}"


def test_what_the_proxy_says_has_a_time_and_words() -> None:
    """A line each; no JSON, no keys."""
    assert written(event="backend.ready", pool="web", slot=1, seconds=0.2) == "12:00:05 web/1: ready after 200 ms"
    assert written(event="proxy.stopped") == "12:00:05 stopped"


def test_a_warning_says_that_it_is_one() -> None:
    """Without colour too."""
    assert written(event="config.caution", level="warning", detail="late") == "12:00:05 warning: late"


def test_ready_stands_out_with_links() -> None:
    """A line for each address, and one for the page."""
    listeners = {"public": ["https://localhost:8443/"], "bounce": ["http://localhost/"]}
    text = written(event="proxy.ready", listeners=listeners, page="http://127.0.0.1:9900/", colours=True)
    first, *links = text.split("\n")
    assert "\x1b[1;32mready\x1b[0m" in first
    assert links == [
        "    https://localhost:8443/  public",
        "    http://localhost/        bounce",
        "    http://127.0.0.1:9900/   admin page",
    ]


def test_what_another_line_says_is_not_written() -> None:
    """A report is a page of JSON."""
    with pytest.raises(structlog.DropEvent):
        written(event="rollout.report", report={"slots": []})


def test_a_traceback_is_below_its_line() -> None:
    """Each line of it harmless."""
    text = written(event="admin.failed", level="error", exception="Traceback\n  x\x1b[2J")
    assert text == "12:00:05 error: admin failed\n    Traceback\n      x\\x1b[2J"


def test_colours_are_for_slots_and_levels() -> None:
    """Two backends at the same time can be told apart."""
    lines = {written(True, event="backend.output", pool="web", slot=slot, line="")[:5] for slot in (0, 1)}
    assert len(lines) == 2
    assert "\x1b[31merror: " in written(True, event="pool.hopeless", level="error", pool="web")
