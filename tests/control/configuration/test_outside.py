"""Reads that may block for ever: given up in time, with a reason, and what comes too late is put away."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from hotswap.control.configuration import outside
from hotswap.control.configuration.loading import load_configuration
from hotswap.control.configuration.outside import ReadTooSlow, read_file, read_within
from hotswap.control.configuration.token_file import TokenFile
from hotswap.control.pools.compatibility import read_file as read_number
from hotswap.control.pools.release import read_environment_file
from hotswap.core.errors import ConfigError
from hotswap.core.rollout.compatibility import Unreadable
from tests.support.certificates import issue_certificate
from tests.support.pools import listeners

SOON = 0.2


def test_what_ends_in_time_is_given_and_so_is_what_it_raises():
    """Nobody can tell that a thread of its own did it."""
    assert read_within(lambda: 7, "seven") == 7
    with pytest.raises(ZeroDivisionError):
        read_within(lambda: 1 // 0, "nothing")


def test_what_does_not_end_is_left_behind_and_what_comes_late_is_put_away():
    """The error says what it was; it is an OSError, so whoever reads files answers it like any other."""
    go, put_away = threading.Event(), threading.Event()
    late: list[object] = []

    def keep(result: object) -> None:
        late.append(result)
        put_away.set()

    with pytest.raises(OSError, match=r"within 0\.2 s.*'a socket'"):
        read_within(lambda: go.wait() and "socket", "a socket", timeout=SOON, late=keep)
    go.set()
    assert put_away.wait(5)
    assert late == ["socket"]


def test_reads_that_are_stuck_are_bounded_in_number(monkeypatch):
    """The next is refused at once, and there are no more threads than that."""
    monkeypatch.setattr(outside, "MOST_LEFT_BEHIND", 2)
    go = threading.Event()
    for _ in range(2):
        with pytest.raises(ReadTooSlow):
            read_within(go.wait, "a dead disk", timeout=SOON)
    before = threading.active_count()
    with pytest.raises(ReadTooSlow, match="earlier reads have not ended"):
        read_within(go.wait, "another dead disk", timeout=60)
    assert threading.active_count() == before
    go.set()


def test_what_is_dead_for_ever_holds_up_nothing_else(monkeypatch):
    """However often it is tried: it is refused at once after some, and everything else is read."""
    go = threading.Event()
    for attempt in range(2 * outside.MOST_LEFT_BEHIND):
        stuck = attempt >= outside.MOST_IN_ONE
        with pytest.raises(ReadTooSlow):
            read_within(go.wait, "a dead disk", timeout=60 if stuck else 0.01)
    assert read_within(lambda: 7, "seven") == 7
    go.set()


def test_a_pipe_is_read_to_its_end_whenever_it_is_written(tmp_path: Path):
    """A writer that comes later than the reader is waited for."""
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Timer(0.1, (tmp_path / "pipe").write_text, ["TOKEN=1\n"])
    writer.start()
    assert read_file(tmp_path / "pipe", 1000, timeout=5) == b"TOKEN=1\n"
    writer.join()


def test_a_pipe_without_a_writer_is_given_up_and_takes_nothing_from_the_next_reader(tmp_path: Path):
    """No thread stays in it that would."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ReadTooSlow):
        read_file(tmp_path / "pipe", 1000, timeout=SOON)
    assert not [thread for thread in threading.enumerate() if str(tmp_path) in thread.name]


def _never(*_: Any, **__: Any) -> Any:
    threading.Event().wait(60)


@pytest.mark.parametrize(
    ("where", "read"),
    [
        ("environment_file", lambda path: read_environment_file("pools.web.environment_file", str(path))),
        ("configuration", load_configuration),
        ("compatibility", lambda path: read_number(str(path))),
        ("token_file", TokenFile),
    ],
)
def test_every_file_on_a_disk_that_does_not_answer_has_a_reason(tmp_path: Path, monkeypatch, where, read):
    """Whoever reads it: an answer in words, and nobody waits for longer than that."""
    path = tmp_path / "file"
    path.write_text("x")
    monkeypatch.setattr(outside, "READ_TIMEOUT", SOON)
    for function in (read_within, read_file):
        monkeypatch.setitem(function.__kwdefaults__, "timeout", SOON)
    monkeypatch.setattr(os, "open", _never)
    monkeypatch.setattr(Path, "open", _never)
    try:
        answer = read(path)
    except (ConfigError, OSError) as error:
        answer = error
    text = str(answer) if isinstance(answer, Unreadable | ConfigError) else str(answer.strerror)
    assert "could not be read within" in text, where


def test_a_certificate_on_a_pipe_is_a_problem_of_its_key(tmp_path: Path):
    """OpenSSL opens it by itself, and would wait for ever; no thread does."""
    os.mkfifo(tmp_path / "key")
    certificates = issue_certificate(tmp_path, "localhost")
    config = tmp_path / "hotswap.toml"
    config.write_text(
        listeners(certificates).replace(str(certificates.key), str(tmp_path / "key"))
        + '[pools.web]\naddresses = ["127.0.0.1:9"]\n'
    )
    before = threading.active_count()
    with pytest.raises(ConfigError, match="a regular file") as failure:
        load_configuration(config)
    assert threading.active_count() <= before
    assert [problem.path for problem in failure.value.problems] == ["listeners.secure.tls.certificates[0].key"]
