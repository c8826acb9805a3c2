"""Where access lines go."""

from __future__ import annotations

from pathlib import Path

import structlog.testing

from hotswap.control.telemetry.access import open_access_log


def test_lines_go_to_the_file_and_closing_writes_them_all(tmp_path: Path) -> None:
    """A path is appended to."""
    path = tmp_path / "access.log"
    path.write_bytes(b"earlier\n")
    access = open_access_log(str(path))
    assert access is not None
    for number in range(100):
        access.write(b"%d\n" % number)
    access.close()
    assert path.read_bytes() == b"earlier\n" + b"".join(b"%d\n" % number for number in range(100))


def test_off_costs_nothing_and_opens_nothing() -> None:
    """There is nothing to write to."""
    assert open_access_log("off") is None


def test_dropped_lines_are_logged_with_their_number() -> None:
    """The hole in the record is itself recorded."""
    access = open_access_log("/dev/full", linger=0.0)
    assert access is not None
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            access.write(b"line\n")
        access.close()
    assert {entry["event"] for entry in logs} == {"access_log.failed", "access_log.dropped"}
    assert sum(entry.get("lines", 0) for entry in logs) == 3
