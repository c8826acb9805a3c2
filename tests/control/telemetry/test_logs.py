"""What a log line looks like, and where it goes."""

from __future__ import annotations

import json
import logging
import os
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from hotswap.control.telemetry.logs import configure_logs


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Leave the process's logging as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def logged(path: Path, *, level: str = "info", log_format: str = "json") -> str:
    """Log a few things and give the file's text."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    stream = configure_logs(level=level, log_format=log_format, fd=fd)
    log = structlog.get_logger()
    log.debug("backend.probed", pool="web")
    log.info("backend.ready", pool="web", slot=1, detail="a\x1b[31mred\x07")
    log.warning("rollout.refused", code="pool-locked")
    logging.getLogger("some.library").warning("it said %s", "this")
    try:
        raise ValueError("broken")
    except ValueError:
        log.exception("admin.failed")
    stream.close()
    os.close(fd)
    return path.read_text()


def test_off_a_terminal_each_line_is_a_json_object(tmp_path: Path) -> None:
    """`auto` means JSON when nobody watches, with event, level and timestamp in each line."""
    events = [json.loads(line) for line in logged(tmp_path / "log", log_format="auto").splitlines()]
    assert [event["event"] for event in events] == [
        "backend.ready",
        "rollout.refused",
        "library.logged",
        "admin.failed",
    ]
    assert events[0]["pool"] == "web"
    assert events[0]["slot"] == 1
    assert all({"event", "level", "timestamp"} <= event.keys() for event in events)
    assert "ValueError: broken" in events[3]["exception"]


def test_what_a_library_logs_comes_out_as_one_of_our_events(tmp_path: Path) -> None:
    """Hypercorn and friends do not write lines of their own."""
    lines = [json.loads(line) for line in logged(tmp_path / "log").splitlines()]
    library = next(line for line in lines if line["event"] == "library.logged")
    assert library["logger"] == "some.library"
    assert library["message"] == "it said this"


def test_the_level_hides_what_is_below_it(tmp_path: Path) -> None:
    """`warning` leaves out info, `debug` shows everything."""
    assert "backend.ready" not in logged(tmp_path / "warning", level="warning")
    assert "backend.probed" in logged(tmp_path / "debug", level="debug")


def test_console_lines_off_a_terminal_have_no_colour_and_no_control_bytes(tmp_path: Path) -> None:
    """What a backend writes cannot paint or ring the operator's terminal."""
    text = logged(tmp_path / "log", log_format="console")
    assert "\x1b" not in text
    assert "\x07" not in text
    assert r"web/1: ready: a\x1b[31mred\x07" in text
    assert "warning: rollout refused (code pool-locked)" in text
    assert "ValueError: broken" in text
    assert "{" not in text
    assert "=" not in text


def test_on_a_terminal_auto_means_coloured_lines_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    """`auto` looks at the file descriptor it writes to."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    ours, theirs = os.openpty()
    stream = configure_logs(level="info", log_format="auto", fd=theirs)
    structlog.get_logger().info("backend.ready", pool="web")
    stream.close()
    text = os.read(ours, 4096).decode()
    os.close(ours)
    os.close(theirs)
    assert "\x1b[" in text
    assert "web\x1b[0m: ready" in text
    assert re.match(r"\x1b\[2m\d\d:\d\d:\d\d", text)


@pytest.mark.parametrize("variable", ["NO_COLOR", "TERM"])
def test_no_colour_is_honoured_on_a_terminal(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    """By who asks for none, and by a terminal that has none."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv(variable, "dumb")
    ours, theirs = os.openpty()
    stream = configure_logs(level="info", log_format="auto", fd=theirs)
    structlog.get_logger().warning("backend.ready", pool="web", slot=0, seconds=1.0)
    stream.close()
    text = os.read(ours, 4096).decode()
    os.close(ours)
    os.close(theirs)
    assert "\x1b" not in text
    assert "web/0: warning: ready after 1.0 s" in text


@pytest.mark.parametrize("log_format", ["auto", "console"])
def test_in_the_journal_each_line_begins_with_its_priority(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log_format: str
) -> None:
    """As sd-daemon(3) has it; every line, for the journal makes an entry of each."""
    path = tmp_path / "log"
    path.touch()
    stat = path.stat()
    monkeypatch.setenv("JOURNAL_STREAM", f"{stat.st_dev}:{stat.st_ino}")
    lines = logged(path, level="debug", log_format=log_format).splitlines()
    assert all(line[:1] == "<" and line[2:3] == ">" for line in lines)
    found = {word: next(line[1] for line in lines if word in line) for word in ("probed", "ready", "refused", "failed")}
    assert found == {"probed": "7", "ready": "6", "refused": "4", "failed": "3"}
    if log_format == "auto":
        assert json.loads(lines[0][3:])["event"] == "backend.probed"


def test_a_variable_that_speaks_of_another_stream_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is inherited by programs whose stderr is redirected elsewhere."""
    monkeypatch.setenv("JOURNAL_STREAM", "1:1")
    assert logged(tmp_path / "log").startswith("{")


def test_a_log_that_cannot_be_written_stops_nobody():
    """A full disk is told in the log itself, which is lost as well; whoever logs goes on."""
    full = os.open("/dev/full", os.O_WRONLY)
    stream = configure_logs(level="info", log_format="json", fd=full)

    def log_much() -> None:
        log = structlog.get_logger()
        for number in range(200):
            log.info("backend.ready", slot=number)
            time.sleep(0.001)  # so that the thread that writes has failed before the next line

    thread = threading.Thread(target=log_much, daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()
    stream.close()
    os.close(full)


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_no_line_is_longer_than_anybody_reads(tmp_path: Path, log_format: str) -> None:
    """Libraries quote whole what they could not understand."""
    path = tmp_path / "log"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    stream = configure_logs(level="info", log_format=log_format, fd=fd)
    log = structlog.get_logger()
    log.error("defect", error="x" * 600_000, output=["y" * 600_000])
    logging.getLogger("some.library").warning("z" * 600_000)
    try:
        raise ValueError("v" * 600_000)
    except ValueError:
        log.exception("admin.failed")
    stream.close()
    os.close(fd)
    text = path.read_text()
    assert "xxx" in text
    assert len(text) < 100_000
