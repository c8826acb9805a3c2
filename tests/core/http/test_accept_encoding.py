"""`Accept-Encoding`: weights, and what is chosen by them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap.core.http.accept_encoding import MAX_FIELD, accepted_codings, choose_coding, parse_weights
from hotswap.core.http.messages import RequestHead

OFFERED = (b"zstd", b"gzip")


def choose(field: bytes) -> bytes | None:
    """What is chosen of what there is."""
    return choose_coding(parse_weights(field), OFFERED)


@pytest.mark.parametrize(
    ("field", "coding"),
    [
        (b"gzip", b"gzip"),
        (b"gzip, deflate, br, zstd", b"zstd"),
        (b"GZIP", b"gzip"),
        (b"x-gzip", b"gzip"),
        (b"gzip;q=1.0, zstd;q=0.5", b"gzip"),
        (b"gzip;q=0.5, zstd;q=0.500", b"zstd"),
        (b"gzip ; Q=0.3", b"gzip"),
        (b"gzip;q=0", None),
        (b"gzip;q=0.000, zstd", b"zstd"),
        (b"identity", None),
        (b"identity;q=0", None),
        (b"identity;q=0, gzip;q=0.1", b"gzip"),
        (b"identity, gzip;q=0.5", None),
        (b"identity;q=0.5, gzip", b"gzip"),
        (b"*", b"gzip"),
        (b"*;q=0", None),
        (b"*;q=0, zstd", b"zstd"),
        (b"*, gzip;q=0", None),
        (b"br, *;q=0.1", b"gzip"),
        (b"br", None),
        (b"deflate", None),
        (b"", None),
        (b" , ,gzip", b"gzip"),
        (b"gzip;q=1.5, zstd;q=x", None),
        (b"gzip;level=9", None),
        (b"gzip\tzstd", None),
    ],
)
def test_the_coding_that_the_client_likes_best_is_chosen(field: bytes, coding: bytes | None) -> None:
    """RFC 9110 12.5.3; at equal weight zstd, and never what it refuses."""
    assert choose(field) == coding


def test_a_long_field_says_nothing() -> None:
    """It is not read."""
    assert choose(b"gzip," * 20) == b"gzip"
    assert choose(b"gzip," + b" " * MAX_FIELD) is None


def test_several_lines_are_one_list() -> None:
    """RFC 9110 5.3."""
    head = RequestHead()
    head.lines = [b"accept-encoding: gzip;q=0.5\r\n", b"Accept: */*\r\n", b"Accept-Encoding: zstd;q=0.4\r\n"]
    assert accepted_codings(head) == {b"gzip": 0.5, b"zstd": 0.4}
    head.lines = [b"Accept: gzip\r\n"]
    assert accepted_codings(head) == {}


@given(st.binary(max_size=MAX_FIELD))
def test_whatever_a_client_says_gives_weights_or_nothing(field: bytes) -> None:
    """Nothing is raised, and each weight is one."""
    weights = parse_weights(field)
    assert all(0 <= weight <= 1 for weight in weights.values())
    assert choose_coding(weights, OFFERED) in (None, *OFFERED)
