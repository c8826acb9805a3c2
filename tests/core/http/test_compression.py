"""Which responses are compressed, and how their heads say so."""

from __future__ import annotations

import pytest

from hotswap.core.http.compression import add_vary, coding_for, declare_coding, is_compressible, is_text
from hotswap.core.http.messages import RequestHead, ResponseHead

HTML = (b"Content-Type", b"text/html; charset=utf-8")


def response(*fields: tuple[bytes, bytes], status: int = 200, length: int | None = 5000) -> ResponseHead:
    """The head of a response."""
    head = ResponseHead()
    head.status = status
    head.fields = fields
    head.content_length = length
    return head


def request(*fields: tuple[bytes, bytes], version: int = 11) -> RequestHead:
    """The head of a request."""
    head = RequestHead()
    head.version = version
    head.fields = fields
    return head


@pytest.mark.parametrize(
    "content_type",
    [
        *(b"text/html", b"TEXT/HTML;charset=utf-8", b"text/css", b"text/plain ; x=y", b"text/javascript"),
        *(b"application/json", b"application/javascript", b"application/xml", b"application/problem+json"),
        *(b"application/rss+xml", b"image/svg+xml", b"application/manifest+json", b"application/wasm", b"font/ttf"),
    ],
)
def test_text_is_compressed(content_type: bytes) -> None:
    """And what is made of text, or becomes smaller."""
    assert is_text(content_type)


@pytest.mark.parametrize(
    "content_type",
    [
        *(
            b"",
            b"image/png",
            b"video/mp4",
            b"application/zip",
            b"font/woff2",
            b"application/octet-stream",
            b"textile/x",
        ),
        *(b"text/event-stream", b"text/event-stream; charset=utf-8", b"application/grpc", b"application/grpc+proto"),
        *(b"multipart/x-mixed-replace; boundary=x", b"application/pdf"),
    ],
)
def test_what_is_compressed_already_or_a_stream_of_events_is_not(content_type: bytes) -> None:
    """Nothing is won, or somebody waits."""
    assert not is_text(content_type)


def test_a_body_of_1_kib_or_of_unknown_length_is_compressible() -> None:
    """A shorter one is not."""
    assert is_compressible(response(HTML, length=1024))
    assert is_compressible(response(HTML, length=None))
    assert not is_compressible(response(HTML, length=1023))
    assert not is_compressible(response(length=5000))


@pytest.mark.parametrize(
    ("status", "compressible"), [(200, True), (404, True), (500, True), (304, False), (206, False)]
)
def test_errors_are_compressed_and_parts_are_not(status: int, compressible: bool) -> None:
    """Whatever the status, unless it has no body or a part of one."""
    assert is_compressible(response(HTML, status=status)) == compressible
    assert not is_compressible(response(HTML, status=204))


@pytest.mark.parametrize(
    "field",
    [
        (b"Content-Encoding", b"br"),
        (b"content-encoding", b"gzip"),
        (b"Cache-Control", b"public, No-Transform"),
        (b"Content-Range", b"bytes 0-9/100"),
        (b"Content-MD5", b"Q2hlY2sgSW50ZWdyaXR5IQ=="),
        (b"Digest", b"sha-256=x"),
        (b"Repr-Digest", b"sha-256=:x:"),
        (b"Content-Digest", b"sha-256=:x:"),
    ],
)
def test_what_speaks_against_it_is_heard(field: tuple[bytes, bytes]) -> None:
    """A coding, `no-transform`, a range, and digests of the bytes as they are."""
    assert not is_compressible(response(HTML, field))


def test_identity_is_no_coding() -> None:
    """It says nothing, and is replaced."""
    head = response(HTML, (b"Content-Encoding", b"identity"))
    assert is_compressible(head)
    declare_coding(head, b"gzip", None)
    assert [value for name, value in head.fields if name == b"Content-Encoding"] == [b"gzip"]


def test_clients_of_http_1_0_and_those_who_want_no_transformation_get_bodies_as_they_are() -> None:
    """RFC 9111 5.2.1.6."""
    accept = (b"Accept-Encoding", b"gzip")
    assert coding_for(request(accept)) == b"gzip"
    assert coding_for(request(accept, version=20)) == b"gzip"
    assert coding_for(request(accept, version=10)) is None
    assert coding_for(request(accept, (b"Cache-Control", b"no-transform"))) is None
    assert coding_for(request(accept, (b"Cache-Control", b"no-cache"))) == b"gzip"
    assert coding_for(request()) is None


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([], [b"Accept-Encoding"]),
        ([b"Cookie"], [b"Cookie, Accept-Encoding"]),
        ([b"Cookie", b"Accept"], [b"Cookie", b"Accept, Accept-Encoding"]),
        ([b"accept-encoding"], [b"accept-encoding"]),
        ([b"Cookie, Accept-Encoding", b"Accept"], [b"Cookie, Accept-Encoding", b"Accept"]),
        ([b"*"], [b"*"]),
        ([b""], [b"Accept-Encoding"]),
        ([b"Cookie,"], [b"Cookie, Accept-Encoding"]),
    ],
)
def test_caches_are_told_once_that_the_coding_matters(before: list[bytes], after: list[bytes]) -> None:
    """It is merged into what is said already."""
    head = response(HTML, *((b"Vary", value) for value in before))
    add_vary(head)
    assert [value for name, value in head.fields if name == b"Vary"] == after


def test_validators_become_weak_and_ranges_go() -> None:
    """RFC 9110 8.8.1: the bytes are others, what they mean is the same."""
    head = response(HTML, (b"etag", b'"abc"'), (b"Accept-Ranges", b"bytes"), (b"X-A", b"b"))
    declare_coding(head, b"zstd", 77)
    assert head.fields == (HTML, (b"ETag", b'W/"abc"'), (b"X-A", b"b"), (b"Content-Encoding", b"zstd"))
    assert head.content_length == 77
    head = response((b"ETag", b'W/"abc"'))
    declare_coding(head, b"gzip", None)
    assert head.fields[0] == (b"ETag", b'W/"abc"')
    assert head.content_length is None
