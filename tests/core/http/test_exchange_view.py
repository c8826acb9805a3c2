"""What an operator is told of exchanges in flight."""

from __future__ import annotations

from hotswap.core.http.exchange_view import LONGEST_LINE, SHOWN, ExchangeView, shorten, tell_exchanges

VIEW = ExchangeView(
    request_line="GET /slow", client="192.0.2.1", age=1.23456, request_bytes=0, response_bytes=7, tunnel=False
)


def test_the_keys_are_the_names_of_the_fields():
    """Ages are told in milliseconds."""
    assert VIEW.to_json() == {
        "request_line": "GET /slow",
        "client": "192.0.2.1",
        "age": 1.235,
        "request_bytes": 0,
        "response_bytes": 7,
        "tunnel": False,
    }


def test_only_the_first_are_told():
    """They come with the oldest first, and those are waited for."""
    assert tell_exchanges([VIEW] * (SHOWN + 1)) == [VIEW.to_json()] * SHOWN


def test_a_long_request_line_is_shortened():
    """A target may be as long as a head."""
    assert shorten("a" * LONGEST_LINE) == "a" * LONGEST_LINE
    assert shorten("a" * (LONGEST_LINE + 1)) == "a" * (LONGEST_LINE - 1) + "…"
