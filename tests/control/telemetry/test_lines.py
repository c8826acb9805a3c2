"""What the line writer promises: never waiting, nothing lost silently."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import threading
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

import pytest
import structlog.testing

from hotswap.control.telemetry.lines import LineWriter


@pytest.fixture
def told() -> Iterator[list[MutableMapping[str, Any]]]:
    """What is told in the log."""
    with structlog.testing.capture_logs() as logs:
        yield logs


def wait_for_content(path: Path, wanted: bytes) -> None:
    """Wait until a file holds something, at most five seconds."""
    pause = threading.Event()
    for _ in range(500):
        if path.exists() and path.read_bytes() == wanted:
            return
        pause.wait(0.01)
    raise AssertionError(f"{path} holds {path.read_bytes()!r}")


def test_lines_arrive_whole_and_in_order(tmp_path: Path) -> None:
    """Closing writes everything that was queued."""
    lines = LineWriter(tmp_path / "log", name="log", linger=0.01)
    expected = [b"line %d\n" % number for number in range(5000)]
    for line in expected:
        lines.write(line)
    lines.close()
    assert (tmp_path / "log").read_bytes() == b"".join(expected)
    assert lines.dropped == 0


def test_lines_arrive_without_closing(tmp_path: Path) -> None:
    """The thread is woken by the first line after a rest, again and again."""
    lines = LineWriter(tmp_path / "log", name="log")
    written = b""
    for number in range(20):
        lines.write(b"%d\n" % number)
        written += b"%d\n" % number
        wait_for_content(tmp_path / "log", written)
    lines.close()


def test_what_is_written_after_reopening_is_in_the_new_file(tmp_path: Path) -> None:
    """Also when the thread is in the middle of a write meanwhile."""
    path, rotated = tmp_path / "log", tmp_path / "log.1"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(reader, True)
    lines = LineWriter(path, name="log")
    long = b"x" * 200_000 + b"\n"
    lines.write(long)
    got = os.read(reader, 1)  # the thread writes, and cannot end before all of it is read
    path.rename(rotated)
    lines.reopen()
    lines.write(b"after\n")
    while len(got) < len(long):
        got += os.read(reader, 65536)
    wait_for_content(path, b"after\n")
    lines.close()
    os.set_blocking(reader, False)
    assert got + os.read(reader, 65536) == long
    os.close(reader)


def test_a_path_that_cannot_be_opened_is_said_at_once(tmp_path: Path) -> None:
    """A mistake in the configuration is an error at the start."""
    with pytest.raises(FileNotFoundError):
        LineWriter(tmp_path / "nowhere" / "log", name="log")


def test_a_stalled_reader_costs_lines_and_not_time(told: list[MutableMapping[str, Any]]) -> None:
    """Beyond the bound lines are dropped and counted, and the count is reported when it flows again."""
    reader, writer = os.pipe()
    capacity = fcntl.fcntl(writer, fcntl.F_GETPIPE_SZ)
    lines = LineWriter(writer, name="access_log", queue_bytes=1000)
    line = b"x" * 999 + b"\n"
    sent = capacity // len(line) + 2000
    for _ in range(sent):  # returns although nobody reads
        lines.write(line)
    assert lines.dropped > 0
    got = bytearray()

    def drain() -> None:
        while chunk := os.read(reader, 65536):
            got.extend(chunk)

    drainer = threading.Thread(target=drain)
    drainer.start()
    pause = threading.Event()
    later = 0
    while not told and later < 500:
        lines.write(b"again\n")
        later += 1
        pause.wait(0.01)
    lines.close()
    os.close(writer)
    drainer.join(5)
    os.close(reader)
    assert got.count(line) + got.count(b"again\n") + lines.dropped == sent + later
    assert told[0]["event"] == "access_log.dropped"
    assert told[0]["lines"] == told[0]["total"] > 0


def test_reopening_follows_a_rotation(tmp_path: Path) -> None:
    """After a rename, lines go to a new file of the old name, and none is lost between."""
    path = tmp_path / "access.log"
    lines = LineWriter(path, name="access_log", linger=0.01)
    lines.write(b"before\n")
    wait_for_content(path, b"before\n")
    path.rename(tmp_path / "access.log.1")
    lines.reopen()
    lines.write(b"after\n")
    wait_for_content(path, b"after\n")
    lines.close()
    assert (tmp_path / "access.log.1").read_bytes() == b"before\n"


def test_reopening_makes_the_file_before_the_next_line(tmp_path: Path) -> None:
    """A log rotator that looks for the new file finds it without traffic."""
    path = tmp_path / "access.log"
    lines = LineWriter(path, name="access_log")
    path.rename(tmp_path / "access.log.1")
    lines.reopen()
    wait_for_content(path, b"")
    lines.close()


def test_a_named_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """Whoever reads it may come later, and finds what was written meanwhile."""
    path = tmp_path / "access.fifo"
    os.mkfifo(path)
    lines = LineWriter(path, name="access_log")
    lines.write(b"early\n")
    with path.open("rb", buffering=0) as reader:
        assert reader.read(100) == b"early\n"
        lines.write(b"late\n")
        assert reader.read(100) == b"late\n"
        lines.close()
        assert reader.read(100) == b""


def test_when_reopening_fails_lines_go_on_into_the_old_file(
    tmp_path: Path, told: list[MutableMapping[str, Any]]
) -> None:
    """A missing directory costs a report and no line."""
    directory = tmp_path / "logs"
    directory.mkdir()
    lines = LineWriter(directory / "log", name="log")
    lines.write(b"one\n")
    wait_for_content(directory / "log", b"one\n")
    directory.rename(tmp_path / "moved")
    lines.reopen()
    lines.write(b"two\n")
    lines.close()
    assert (tmp_path / "moved" / "log").read_bytes() == b"one\ntwo\n"
    assert told[0]["event"] == "log.failed"
    assert "not reopened" in told[0]["error"]


def test_a_full_disk_is_counted_and_said_once(told: list[MutableMapping[str, Any]]) -> None:
    """The thread survives it, and the count grows by what was lost."""
    full = os.open("/dev/full", os.O_WRONLY)
    lines = LineWriter(full, name="access_log")
    for _ in range(10):
        lines.write(b"lost\n")
    lines.close()
    os.close(full)
    assert lines.dropped == 10
    assert [line["event"] for line in told].count("access_log.failed") == 1
    assert os.strerror(errno.ENOSPC) in str(told)


def test_a_line_after_closing_is_counted_as_dropped(tmp_path: Path) -> None:
    """Late lines hurt nobody."""
    lines = LineWriter(tmp_path / "log", name="log")
    lines.close()
    lines.close()
    lines.write(b"late\n")
    assert lines.dropped == 1


def test_a_full_pipe_is_waited_for_whatever_its_number() -> None:
    """The limit of open files is raised, and select(2) takes no descriptor from 1,024 on."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    reading, writing = os.pipe()
    high = fcntl.fcntl(writing, fcntl.F_DUPFD_CLOEXEC, 1024)
    os.set_blocking(high, False)
    try:
        lines = LineWriter(high, name="log")
        long = b"x" * (1 << 20) + b"\n"
        lines.write(long)
        received = 0
        while received < len(long):
            received += len(os.read(reading, 65536))
        lines.close()
        assert lines.dropped == 0
    finally:
        for descriptor in (reading, writing, high):
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
