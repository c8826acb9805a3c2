"""Texts from elsewhere are harmless and short wherever they are shown."""

from __future__ import annotations

from hotswap.core.errors import BadRequest, ConfigError, Problem, UpstreamBroken
from hotswap.core.printable import LONGEST_TEXT, bounded, bounded_value, one_line


def test_a_long_text_is_cut_and_says_so() -> None:
    """A short one stays."""
    assert bounded("a" * LONGEST_TEXT) == "a" * LONGEST_TEXT
    assert bounded("a" * 600_000) == "a" * (LONGEST_TEXT - 1) + "…"


def test_every_text_in_a_value_is_cut() -> None:
    """However deep; what is no text stays what it is."""
    value = {"a": ["x" * 20, 1, None], "b": ({"c": "y" * 20},), "d": 1.5}
    assert bounded_value(value, 5) == {"a": ["xxxx…", 1, None], "b": ({"c": "yyyy…"},), "d": 1.5}


def test_no_error_carries_what_a_library_quotes_whole() -> None:
    """Logs, access lines, events and answers all take its detail; a configuration has as many problems as it has."""
    for error in (BadRequest("x" * 600_000), UpstreamBroken("y" * 600_000)):
        assert len(error.detail) == len(str(error)) == LONGEST_TEXT
    many = ConfigError(Problem(f"pools.p{number}", "x", "y") for number in range(1000))
    assert str(many) == many.detail
    assert "pools.p999" in many.detail


def test_a_text_becomes_one_line_that_is_read_as_it_was_written() -> None:
    """Line ends of every kind, control characters, and marks that reorder letters (UAX 9)."""
    assert one_line("plain, wide 日本 and\xa0spaced") == "plain, wide 日本 and\xa0spaced"
    assert one_line("a\r\nb\n\nc\u2028d\n") == "a; b; c; d"
    assert one_line("\tx\x1b[2J\u202egpj\u2066") == "\tx\\x1b[2J\\u202egpj\\u2066"
