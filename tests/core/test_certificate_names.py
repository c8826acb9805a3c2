"""Which certificate is for which name, and which hosts a connection may carry."""

from __future__ import annotations

import pytest

from hotswap.core.certificate_names import CACHE_ENTRIES, CertificateNames
from hotswap.core.memory import Memory

NAMES = CertificateNames([["a.example"], ["b.example", "Both.example"], ["*.c.example", "both.example"], []])


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("a.example", 0),
        ("B.EXAMPLE.", 1),
        ("both.example", 1),
        ("x.c.example", 2),
        ("c.example", 0),
        ("x.y.c.example", 0),
        ("elsewhere.example", 0),
        ("", 0),
    ],
)
def test_a_name_gets_its_certificate_or_the_first(name: str, index: int) -> None:
    """By the name itself, then by a wildcard of one label, in any case of letters."""
    assert NAMES.choose(name) == index


@pytest.mark.parametrize(
    ("index", "host", "allowed"),
    [
        (0, b"a.example", True),
        (0, b"A.example:8443", True),
        (0, b"a.example.", True),
        (0, b"b.example", False),
        (0, b"x.c.example", False),
        (0, b"elsewhere.example", True),  # whoever asked for it would have been shown the first as well
        (0, b"10.0.0.1:8443", True),
        (0, b"[::1]:8443", True),
        (0, b"", True),  # HTTP/1.0 may name none
        (1, b"a.example", False),
        (1, b"both.example", True),
        (1, b"elsewhere.example", False),
        (1, b"10.0.0.1", False),
        (2, b"x.c.example", True),
        (2, b"y.c.example", True),
        (2, b"c.example", False),
        (2, b"x.y.c.example", False),
        (2, b"both.example", True),  # another is shown for it, and this one is for it all the same
    ],
)
def test_a_connection_is_for_what_its_certificate_is_for(index: int, host: bytes, allowed: bool) -> None:
    """With or without a port, and where nothing else would have been shown."""
    may_ask_for = NAMES.shown(index)
    assert [may_ask_for(host), may_ask_for(host)] == [allowed, allowed]


def test_what_is_remembered_is_bounded() -> None:
    """In number and in size, whatever hosts a client makes up."""
    may_ask_for = NAMES.shown(1)
    for number in range(3 * CACHE_ENTRIES):
        assert not may_ask_for(b"%d.example" % number)
    assert may_ask_for(b"b.example")
    kept: Memory[bool] = may_ask_for.__self__  # type: ignore[attr-defined]  # the bound method of one
    assert len(kept) <= CACHE_ENTRIES
    may_ask_for(b"x" * 10_000)
    assert max(map(len, kept)) < 1000
