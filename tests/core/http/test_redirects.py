"""Where redirects lead: never anywhere but to the host that is configured."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap.core.http.redirects import location_at


@pytest.mark.parametrize(
    ("target", "location"),
    [
        (b"/", b"https://example.org/"),
        (b"/a/b?c=d&e", b"https://example.org/a/b?c=d&e"),
        (b"/%C3%A9?q=%20", b"https://example.org/%C3%A9?q=%20"),
        (b"*", b"https://example.org/"),
        (b"", b"https://example.org/"),
        (b"//evil.example/x", b"https://example.org//evil.example/x"),
        (b"/\\evil.example", b"https://example.org/%5Cevil.example"),
        (b"@evil.example", b"https://example.org/"),
        (b".evil.example", b"https://example.org/"),
        (b"/\xc3\xa9", b"https://example.org/%C3%A9"),
        (b"/x\r\nSet-Cookie: a=b", b"https://example.org/x%0D%0ASet-Cookie:%20a=b"),
        (b'/"><script>', b"https://example.org/%22%3E%3Cscript%3E"),
    ],
)
def test_path_and_query_stay(target, location):
    """As they were spelled, but for what no URI has."""
    assert location_at(b"https://example.org", target) == location


@given(st.binary(max_size=60), st.sampled_from(["https://example.org", "http://[::1]:8080"]))
def test_it_leads_to_the_host_that_is_configured(target, origin):
    """Whatever the target is."""
    location = location_at(origin.encode(), target).decode("ascii")
    assert location.isprintable()
    assert " " not in location
    split = urlsplit(location)
    assert f"{split.scheme}://{split.netloc}" == origin
    assert location.removeprefix(origin).startswith("/")
