"""Request targets: each form that is served in origin form, and each that is refused."""

from __future__ import annotations

import pytest

from hotswap.core.errors import BadRequest
from hotswap.core.http.messages import RequestHead
from hotswap.wire.request_target import set_target


def head_of(method: bytes, target: bytes, host: bytes = b"") -> RequestHead:
    """A head with that target."""
    head = RequestHead()
    head.method = method
    head.host = host
    set_target(head, target)
    return head


@pytest.mark.parametrize(
    ("method", "given", "target", "path", "host"),
    [
        (b"GET", b"/", b"/", b"/", b"a"),
        (b"GET", b"/p?q=1", b"/p?q=1", b"/p", b"a"),
        (b"GET", b"/p?q=\\", b"/p?q=\\", b"/p", b"a"),
        (b"GET", b"http://a/p?q", b"/p?q", b"/p", b"a"),
        (b"GET", b"HTTPS://A/p", b"/p", b"/p", b"A"),
        (b"GET", b"http://a", b"/", b"/", b"a"),
        (b"GET", b"http://a?q", b"/?q", b"/", b"a"),
        (b"OPTIONS", b"http://a", b"*", b"*", b"a"),
        (b"OPTIONS", b"*", b"*", b"*", b"a"),
    ],
)
def test_a_target_becomes_origin_form(method: bytes, given: bytes, target: bytes, path: bytes, host: bytes) -> None:
    """An absolute one brings its host, and OPTIONS without a path asks for the server as a whole (L3, L5)."""
    head = head_of(method, given, b"a")
    assert (head.target, head.path, head.host) == (target, path, host)


def test_a_target_with_a_host_needs_no_other() -> None:
    """As in HTTP/1.0, whose clients need not say it twice."""
    assert head_of(b"GET", b"http://a:8080/").host == b"a:8080"


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        (b"CONNECT", b"a:443", 405),
        (b"TRACE", b"/", 405),
        (b"GET", b"*", 400),
        (b"GET", b"", 400),
        (b"GET", b"p", 400),
        (b"GET", b"/p#f", 400),
        (b"GET", b"/a b", 400),
        (b"GET", b"/\x7f", 400),
        (b"GET", b"/\xff", 400),
        (b"GET", b"/a\\b", 400),
        (b"GET", b"ftp://a/", 400),
        (b"GET", b"http:///p", 400),
        (b"GET", b"http://b/", 400),
    ],
)
def test_other_targets_are_refused(method: bytes, target: bytes, status: int) -> None:
    """The methods that are not served, bytes of no URL, and a host that contradicts the other one (L4 to L6)."""
    with pytest.raises(BadRequest) as caught:
        head_of(method, target, b"a")
    assert caught.value.status == status
