"""`hotswap.core.memory`: what is remembered is right, and is bounded in entries and in bytes."""

from __future__ import annotations

import pytest

from hotswap.core.http.messages import MAX_HOST, parse_tokens, valid_host
from hotswap.core.memory import Memory


def test_a_value_is_worked_out_once():
    """And means the same each time."""
    asked: list[bytes] = []

    def upper(key: bytes) -> bytes:
        asked.append(key)
        return key.upper()

    memory = Memory(upper, entries=2, key_bytes=4)
    assert [memory[b"a"], memory[b"a"], memory.__getitem__(b"a")] == [b"A"] * 3
    assert asked == [b"a"]


def test_long_keys_are_worked_out_each_time():
    """A peer chooses them, and they would stay when it has gone."""
    memory = Memory(bytes.upper, entries=2, key_bytes=4)
    assert memory[b"abcde"] == b"ABCDE"
    assert memory[b"abcd"] == b"ABCD"
    assert list(memory) == [b"abcd"]


def test_a_full_memory_begins_again():
    """It never has more entries than it may."""
    memory = Memory(bytes.upper, entries=3, key_bytes=4)
    for number in range(100):
        assert memory[b"%d" % number] == b"%d" % number
        assert len(memory) <= 3


def test_what_fails_is_not_remembered():
    """The error goes to whoever asks."""

    def refuse(key: bytes) -> bytes:
        raise ValueError(key)

    memory = Memory(refuse, entries=3, key_bytes=4)
    for _ in range(2):
        with pytest.raises(ValueError, match="a"):
            memory[b"a"]
    assert not memory


@pytest.mark.parametrize(
    ("host", "valid"),
    [
        (b"example.org", True),
        (b"example.org:", True),
        (b"[::1]:", True),
        (b"example.org:65535", True),
        (b"example.org:65536", False),
        (b":", False),
        (b":80", False),
        (b"", False),
        (b"a:1:2", False),
        (b"a" * MAX_HOST, True),
        (b"a" * (MAX_HOST + 1), False),
    ],
)
def test_hosts(host: bytes, valid: bool):
    """A port may be empty (RFC 3986 3.2.3), a name may not, and nothing is without end."""
    assert valid_host(host) is valid


def test_lists_are_taken_apart_whatever_their_length():
    """What is too long to be remembered is understood all the same."""
    assert parse_tokens(b"Close, ,TE") == (b"close", b"te")
    assert parse_tokens(b",".join([b"a"] * 500)) == (b"a",) * 500
