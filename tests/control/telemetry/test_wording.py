"""What a record says in words."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap.control.telemetry import wording
from hotswap.control.telemetry.wording import SENTENCES, place_of, plain_sentence, seconds_words, sentence_of

FIELDS = re.findall(r"fields(?:\.get\(|\[)['\"](\w+)['\"]", Path(wording.__file__).read_text(encoding="utf-8"))
"""Every field that a sentence asks for."""

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "log-events.md"


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"pool": "web", "slot": 0}, "web/0"),
        ({"pool": "web"}, "web"),
        ({"listener": "public"}, "public"),
        ({"addresses": []}, ""),
    ],
)
def test_a_place_is_the_slot_the_pool_or_the_listener(fields: dict[str, object], place: str) -> None:
    """By their names."""
    assert place_of(fields) == place


@pytest.mark.parametrize(
    ("name", "fields", "sentence"),
    [
        ("backend.ready", {"seconds": 0.196}, "ready after 196 ms"),
        ("backend.exited", {"reason": "stopped", "exit": "stopped"}, "stopped"),
        ("backend.exited", {"reason": "stopped", "exit": "exit code 0"}, "stopped"),
        ("backend.exited", {"reason": "stopped", "exit": "exit code 3"}, "stopped, exit code 3"),
        ("backend.exited", {"reason": "killed", "exit": "killed by SIGKILL"}, "killed by SIGKILL"),
        ("backend.exited", {"reason": "crashed", "exit": "exit code 1"}, "crashed: exit code 1"),
        ("pool.paused", {"pool": "web"}, "paused: requests are held"),
        ("pool.paused", {"answer": {"status": 404, "page": False}}, "paused: requests are answered 404"),
        ("pool.paused", {"answer": {"status": 503, "page": True}}, "paused: requests are answered 503 with a page"),
        ("backend.exited", {"reason": "discarded"}, "ended before it was ready: it is not wanted any more"),
        ("backend.stopping", {"stop_timeout": 30.0}, "stopping, at most 30 s"),
        ("backend.stopping", {"before": "draining"}, "stopping"),
        ("listener.listening", {"addresses": ["127.0.0.1:80"]}, "listening on 127.0.0.1:80"),
        (
            "listener.listening",
            {"addresses": ["[::1]:443"], "authority": "/a.pem"},
            "listening on [::1]:443; trust /a.pem for its certificate",
        ),
        ("backend.draining", {"in_flight": 0}, "draining"),
        ("backend.draining", {"in_flight": 2}, "draining, 2 in flight"),
        ("backend.draining", {"by": "operator"}, "drained by an operator"),
        ("backend.crashed", {"exit": "exit code 1", "in_flight": 0}, "crashed: exit code 1"),
        (
            "backend.crashed",
            {"exit": "exit code 1", "last_error": "exited with status 1: boom", "in_flight": 2},
            "crashed: exited with status 1: boom; 2 in flight",
        ),
        (
            "backend.failed",
            {"before": "starting", "last_error": "exited with status 1"},
            "did not become ready: exited with status 1",
        ),
        (
            "backend.backoff",
            {"last_error": "exited with status 1"},
            "waits before it is tried again: exited with status 1",
        ),
        ("backend.health", {"health": "unhealthy", "detail": "status 500"}, "unhealthy: status 500"),
        ("proxy.ready", {}, "ready"),
        (
            "proxy.ready",
            {"not_ready": ["web", "api"], "last_errors": {"web": ["exited with status 1"], "api": []}},
            "ready, without web (exited with status 1), api, which did not come up so far and is tried again",
        ),
        ("proxy.stopping", {"in_flight": 0}, "stopping: the backends end; Ctrl-C again stops at once"),
        (
            "proxy.stopping",
            {"in_flight": 1, "oldest": "GET /slow from ::1, 3.0 s old", "shutdown_timeout": 30.0},
            "stopping: waits for 1 request (the oldest: GET /slow from ::1, 3.0 s old), at most 30 s; "
            "Ctrl-C again stops at once",
        ),
        (
            "rollout.slot_done",
            {"seconds": 12.3, "cut": 2, "held": 0, "killed": True},
            "replaced in 12 s, 2 cut, killed",
        ),
        ("rollout.slot_done", {"rollback": True}, "back at what it ran before"),
        ("rollout.step", {"rollout": "r1", "state": "starting-drained"}, "rollout r1: starting, drained"),
        ("rollout.aborted", {"rollout": "r1", "detail": "by an operator"}, "rollout r1 aborted: by an operator"),
        ("config.applied", {"changes": []}, "configuration read again: nothing has changed"),
        ("config.applied", {"changes": ["a", "b"]}, "configuration read again: a, b"),
        ("signal.received", {"signal": "SIGHUP"}, "SIGHUP received"),
    ],
)
def test_a_record_says_it_in_a_sentence(name: str, fields: dict[str, object], sentence: str) -> None:
    """Without a name, a key or a brace."""
    assert sentence_of(name, fields) == sentence


def test_a_crash_loop_is_told_with_its_reason_and_the_next_try() -> None:
    """At the time of day of whoever reads it."""
    at = datetime(2026, 11, 30, 12, 0, 5).astimezone()
    fields = {"crashes": 3, "last_error": "exited with status 1", "next_try": at.isoformat()}
    assert sentence_of("slot.crash_looping", fields) == (
        "failed 3 times in a row: exited with status 1; next try at 12:00:05"
    )


def test_what_another_record_says_is_left_out() -> None:
    """That an end was reached is said once."""
    assert sentence_of("rollout.report", {"report": {}}) is None
    assert sentence_of("backend.exited", {"reason": "start-failed", "exit": "exit code 1"}) is None
    assert sentence_of("rollout.step", {"rollout": "r1", "state": "aborted"}) is None
    assert sentence_of("signal.received", {"signal": "SIGINT"}) is None


def test_a_record_without_a_sentence_of_its_own_is_told_by_its_parts() -> None:
    """Its name in words, its detail, and what else a person can use."""
    fields = {"path": "/run/x", "detail": "made again", "files": ["a", "b"], "empty": "", "pid": 1, "timestamp": "T"}
    assert sentence_of("state_directory.vanished", fields) == (
        "state directory vanished: made again (path /run/x, files a, b)"
    )


def test_a_sentence_that_misses_a_field_is_made_of_what_there_is() -> None:
    """By a call that leaves something out, or a version that has other fields."""
    assert sentence_of("backend.not_started", {"reason": "exited"}) == "not started (reason exited)"
    assert sentence_of("backend.ready", {"seconds": "soon"}) == "ready (seconds soon)"


def test_a_sentence_is_one_line_whatever_is_in_it() -> None:
    """No line end, no control character, nothing that reorders letters; wide ones stay."""
    told = sentence_of("backend.output", {"line": "日本\n\x1b[31mred\x07\u202egpj.exe"})
    assert told == r"日本; \x1b[31mred\x07\u202egpj.exe"


@pytest.mark.parametrize(("seconds", "words"), [(0.0004, "0 ms"), (0.25, "250 ms"), (1.25, "1.2 s"), (75.3, "75 s")])
def test_seconds_have_no_more_digits_than_matter(seconds: float, words: str) -> None:
    """Milliseconds below one."""
    assert seconds_words(seconds) == words


def test_every_sentence_is_of_a_name_that_is_documented() -> None:
    """A name that is gone takes its sentence with it."""
    names = set(re.findall(r"`([a-z_.]+)`", PAGE.read_text(encoding="utf-8")))
    assert sorted(set(SENTENCES) - names) == []


def test_every_documented_name_has_words() -> None:
    """No name is shown with its dots or underscores, whatever fields it has."""
    for name in set(re.findall(r"^\| `([a-z_]+\.[a-z_]+)`", PAGE.read_text(encoding="utf-8"), re.M)):
        assert not re.search(r"[a-z]_[a-z]|[a-z]\.[a-z]", sentence_of(name, {}) or ""), name
        assert "=" not in plain_sentence(name, {"detail": "x", "seconds": 1.5})


@given(
    name=st.sampled_from(sorted(SENTENCES)),
    fields=st.dictionaries(
        st.sampled_from(sorted(FIELDS)),
        st.none()
        | st.booleans()
        | st.integers()
        | st.text(max_size=5)
        | st.lists(st.text(max_size=3), max_size=2)
        | st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
    ),
)
def test_whatever_a_record_has_it_is_told(name: str, fields: dict[str, object]) -> None:
    """Whoever logs goes on: no field of a form that nobody foresaw stops the proxy."""
    told = sentence_of(name, fields)
    assert told is None or "\n" not in told
