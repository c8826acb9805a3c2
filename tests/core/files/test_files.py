"""What is answered of a file: paths, media types, hashed names, siblings, conditions and ranges."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hotswap.core.files.conditions import NOTHING_ASKED, FileRequest, Verdict, asked_of, judge, part_of
from hotswap.core.files.file_path import file_path
from hotswap.core.files.hashed_name import is_hashed, is_hashed_anywhere
from hotswap.core.files.media_type import DEFAULT, is_asset, is_compressible, media_type
from hotswap.core.files.page import wants_page
from hotswap.core.files.siblings import choose_sibling, is_current
from hotswap.core.http.messages import RequestHead

ETAG = b'"abc"'
MODIFIED = 784111777
MODIFIED_TEXT = b"Sun, 06 Nov 1994 08:49:37 GMT"
EARLIER = b"Sun, 06 Nov 1994 08:49:36 GMT"
LATER = b"Sun, 06 Nov 1994 08:49:38 GMT"


def head_with(*fields: tuple[bytes, bytes]) -> RequestHead:
    head = RequestHead()
    head.fields = fields
    return head


@pytest.mark.parametrize(
    ("path", "prefix", "expected"),
    [
        (b"/static/css/a.css", b"/static", b"css/a.css"),
        (b"/a.css", b"", b"a.css"),
        (b"/static", b"/static", b""),
        (b"/static/", b"/static", b""),
        (b"/", b"", b""),
        (b"/static/css/", b"/static", b"css/"),
        (b"/static/a%20b.css", b"/static", b"a b.css"),
        (b"/st%61tic/a.css", b"/static", b"a.css"),
        (b"/static/a%2fb.css", b"/static", b"a/b.css"),
        (b"/static/%c3%bc.css", b"/static", b"\xc3\xbc.css"),
        (b"/static//css///a.css", b"/static", b"css/a.css"),
        (b"/static/css//", b"/static", b"css/"),
        (b"/static//", b"/static", b""),
        (b"/static/a..b.css", b"/static", b"a..b.css"),
        (b"/.well-known/security.txt", b"", b".well-known/security.txt"),
        # Decoded once, and not again.
        (b"/static/%252e%252e/x", b"/static", b"%2e%2e/x"),
        # None of these is a file of anybody.
        (b"/other/a.css", b"/static", None),
        (b"/staticx/a.css", b"/static", None),
        (b"//static/a.css", b"/static", None),
        (b"/static/../secret", b"/static", None),
        (b"/static/%2e%2e/secret", b"/static", None),
        (b"/static/..%2fsecret", b"/static", None),
        (b"/static/./a.css", b"/static", None),
        (b"/static/..", b"/static", None),
        (b"/static/.env", b"/static", None),
        (b"/.git/config", b"", None),
        (b"/static/css/.htaccess", b"/static", None),
        (b"/static/%2egit/config", b"/static", None),
        (b"/static/.well-known/x", b"/static", None),
        (b"/.well-known/.secret", b"", None),
        (b"/.well-knownx/a", b"", None),
        (b"/static/a\\b", b"/static", None),
        (b"/static/a%5c..%5cb", b"/static", None),
        (b"/static/a%00.css", b"/static", None),
        (b"/static/" + b"x" * 5000, b"/static", None),
    ],
)
def test_the_path_of_a_request_is_that_of_a_file(path, prefix, expected):
    """Without the prefix, decoded once, and never a hidden one."""
    assert file_path(path, prefix) == expected


@given(st.text(alphabet="/.%2e5cafx\\\0", max_size=30).map(str.encode))
@example(b"/%2e%2e%2f.")
def test_no_path_has_a_hidden_segment(path):
    """Whatever is written and however: a segment is neither empty, but for the last, nor begins with a dot."""
    found = file_path(b"/" + path, b"")
    if found is not None:
        *directories, last = found.split(b"/")
        assert all(directories) or found == b""
        segments = [*directories, last]
        assert not any(segment.startswith(b".") for segment in segments)
        assert not set(b"\0\\") & set(found)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "base.5af66c1b1797.css",
            "img/LICENSE.2c54f4e1ca1c",
            "admin/js/core.cf103cd04ebf.js",
            "css/base.5af66c1b1797.css.map",
        ),  # Django
        *("main.8f3b2a1c.chunk.js", "main.8f3b2a1c.js", "3f2a9c1b8e7d6f5a4b3c.woff2"),  # webpack
        *("app-8f3b2a1c01.js", "_next/static/chunks/main-5f2d6b0e4b8d1c3a.js"),  # gulp-rev, Next
        *(
            "assets/index-DiwrgTda.js",
            "assets/index-B4tR_Xy-.css",
            "assets/a-_x-Y9zQ1.css",
            "index-D1wr9Tda.js",
        ),  # Vite
        *("chunk-HFDX4IEZ.js", "_astro/index.DiwrgTda.css", "_app/immutable/chunks/entry.js"),
    ],
)
def test_a_name_with_a_hash_is_recognised(name):
    """As the build tools write them."""
    assert is_hashed(name.encode())


@pytest.mark.parametrize(
    "name",
    [
        *("main.css", "README", "favicon.ico", "index.html", "", "a."),
        *("jquery-3.7.1.min.js", "lodash-4.17.21.js", "bootstrap.bundle.min.js", "font-awesome.min.css"),
        *("jquery-migrated.js", "app.template.js", "icon-MyWidget.js", "logo-Version2.png", "app-2024June.js"),
        *("report.20240131.pdf", "photo-20240131.jpg", "report-24-01-31.pdf", "bundle.1706698800.js", "a-12345678.js"),
        *("deadbeef.txt", "facade-deadbeef.js", "img-550e8400-e29b-41d4-a716-446655440000.png", "v8f3b2a1c/main.js"),
        *("assets/jquery-migrated.js", "assets/icon-Disabled.png", "assets/main.css", "immutable/main.css"),
        *("assets/README-COMPLETE.md", "index-DiwrgTda.js"),
        *("avatars/550e8400-e29b-41d4-a716-44665544abcd.jpg", "a.550e8400-e29b-41d4-a716-44665544abcd.jpg"),
    ],
)
def test_a_name_that_a_person_gave_is_none(name):
    """A wrong "immutable" stays in browsers for a year; a hash that reads as words is one only where tools write."""
    assert not is_hashed(name.encode())
    assert not is_hashed_anywhere(name.encode())


@pytest.mark.parametrize(
    ("name", "hashed"),
    [
        ("css/base.5af66c1b1797.css", True),
        ("assets/index-DiwrgTda.js", True),
        ("_app/immutable/chunks/entry.js", True),
        ("avatars/3f2504e04f8941d39a0c0305e82c3301.jpg", False),
        ("up/507f1f77bcf86cd799439011.jpg", False),
        ("report-Q3FY2024.pdf", False),
        ("scan-2024dec1.pdf", False),
        ("main.8f3b2a1c.js", False),
        ("notes.123456789012.txt", False),
    ],
)
def test_among_files_of_people_only_names_of_tools_are_hashed(name, hashed):
    """Ids and dates are overwritten under the same name."""
    assert is_hashed_anywhere(name.encode()) is hashed


@pytest.mark.parametrize(
    ("etag", "field", "said", "verdict"),
    [
        (b'W/"a"', "if_none_match", b'"a"', Verdict.UNCHANGED),
        (b'W/"a"', "if_none_match", b'"b", W/"a"', Verdict.UNCHANGED),
        (b'W/"a"', "if_match", b'W/"a"', Verdict.FAILED),
        (b'W/"a"', "if_match", b'"a"', Verdict.FAILED),
        (b'"a,b"', "if_none_match", b'"x", "a,b"', Verdict.UNCHANGED),
        (b'"b"', "if_none_match", b'"a,b"', Verdict.WHOLE),
        (b'"a"', "if_match", b'"x","a"', Verdict.WHOLE),
        (b"broken", "if_none_match", b"broken", Verdict.WHOLE),
    ],
)
def test_tags_of_apps_are_compared_as_they_are_meant(etag, field, said, verdict):
    """Weakly for If-None-Match, strongly for If-Match (RFC 9110 13.1); a comma may be within a tag."""
    asked = FileRequest(**{field: said})
    assert judge(asked, etag=etag, modified=MODIFIED, modified_text=MODIFIED_TEXT) is verdict


def test_no_part_is_given_by_a_weak_tag():
    """RFC 9110 13.1.5."""
    asked = FileRequest(range=b"bytes=0-1", if_range=b'W/"a"')
    assert part_of(asked, size=9, etag=b'W/"a"', modified_text=MODIFIED_TEXT)[0] is Verdict.WHOLE


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (b"app.js", b"text/javascript; charset=utf-8"),
        (b"app.MJS", b"text/javascript; charset=utf-8"),
        (b"a.b/index.html", b"text/html; charset=utf-8"),
        (b"main.wasm", b"application/wasm"),
        (b"site.webmanifest", b"application/manifest+json"),
        (b"font.woff2", b"font/woff2"),
        (b"photo.avif", b"image/avif"),
        (b"logo.svg", b"image/svg+xml"),
        (b"app.js.map", b"application/json"),
        (b"unknown.xyz", DEFAULT),
        (b"LICENSE", DEFAULT),
        (b".html", DEFAULT),
    ],
)
def test_the_media_type_is_told_by_the_end_of_the_name(name, expected):
    """In any case, by one table."""
    assert media_type(name) == expected


def test_what_is_compressed_already_has_no_siblings():
    """So nobody looks for any."""
    assert [
        name for name in (b"a.css", b"a.svg", b"a.wasm", b"a.png", b"a.woff2", b"a.zip", b"a") if is_compressible(name)
    ] == [
        b"a.css",
        b"a.svg",
        b"a.wasm",
    ]


@pytest.mark.parametrize(
    ("path", "accept", "expected"),
    [
        (b"users/7", b"text/html,application/xhtml+xml", True),
        (b"users/john.doe", b"text/html", True),
        (b"", b"*/*", True),
        (b"page.html", b"text/html", True),
        (b"users/7", None, True),
        (b"assets/index-DiwrgTda.js", b"*/*", False),
        (b"missing.png", b"text/html", False),
        (b"api/users", b"application/json", False),
        (b"photo", b"image/avif,image/webp", False),
    ],
)
def test_a_page_is_for_who_wants_one(path, accept, expected):
    """A missing asset stays missing, and who takes JSON alone gets no HTML."""
    head = head_with(*([(b"Accept", accept)] if accept is not None else []))
    assert wants_page(head, path) is expected
    assert is_asset(b"index.html") is False


SIZES = {b"br": 80, b"zstd": 90, b"gzip": 100}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (b"", b""),
        (b"gzip", b"gzip"),
        (b"gzip, deflate, br, zstd", b"br"),
        (b"gzip, zstd", b"zstd"),
        (b"gzip;q=1, br;q=0.5", b"gzip"),
        (b"br;q=0, gzip", b"gzip"),
        (b"identity", b""),
        (b"identity;q=1, gzip;q=0.5", b""),
        (b"compress", b""),
        (b"br;q=x", b""),
    ],
)
def test_the_smallest_of_what_the_client_likes_best_is_given(said, expected):
    """And the file as it is to who wants nothing of that."""
    assert choose_sibling(said, SIZES) == expected


def test_a_sibling_that_is_older_than_its_original_is_stale():
    """By more than a copy of a tree may make it."""
    assert is_current(modified=10**9, original=2 * 10**9)
    assert not is_current(modified=10**9, original=4 * 10**9)


def test_the_fields_of_a_request_are_read():
    """Several of one name are a list; a request without any asks for nothing."""
    assert asked_of(head_with((b"Accept", b"*/*"), (b"Authorization", b"x"), (b"Range-Unit", b"x"))) is NOTHING_ASKED
    head = head_with((b"if-none-match", b'"a"'), (b"If-None-Match", b'"b"'), (b"RANGE", b"bytes=0-1"))
    assert asked_of(head) == FileRequest(if_none_match=b'"a", "b"', range=b"bytes=0-1")


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (FileRequest(), Verdict.WHOLE),
        (FileRequest(if_none_match=ETAG), Verdict.UNCHANGED),
        (FileRequest(if_none_match=b'W/"abc"'), Verdict.UNCHANGED),
        (FileRequest(if_none_match=b'"x", W/"y" ,"abc"'), Verdict.UNCHANGED),
        (FileRequest(if_none_match=b"*"), Verdict.UNCHANGED),
        (FileRequest(if_none_match=b'"x"'), Verdict.WHOLE),
        (FileRequest(if_none_match=b"abc"), Verdict.WHOLE),
        # If-None-Match has the word where both come.
        (FileRequest(if_none_match=b'"x"', if_modified_since=LATER), Verdict.WHOLE),
        (FileRequest(if_modified_since=MODIFIED_TEXT), Verdict.UNCHANGED),
        (FileRequest(if_modified_since=LATER), Verdict.UNCHANGED),
        (FileRequest(if_modified_since=EARLIER), Verdict.WHOLE),
        (FileRequest(if_modified_since=b"Sunday, 06-Nov-94 08:49:37 GMT"), Verdict.UNCHANGED),
        (FileRequest(if_modified_since=b"Sun Nov  6 08:49:37 1994"), Verdict.UNCHANGED),
        (FileRequest(if_modified_since=b"yesterday"), Verdict.WHOLE),
        (FileRequest(if_modified_since=b"x" * 1000), Verdict.WHOLE),
        (FileRequest(if_modified_since=b"\xff"), Verdict.WHOLE),
        (FileRequest(if_modified_since=b"Sun, 06 Nov 99999999999 08:49:37 GMT"), Verdict.WHOLE),
        (FileRequest(if_match=ETAG), Verdict.WHOLE),
        (FileRequest(if_match=b"*"), Verdict.WHOLE),
        (FileRequest(if_match=b'"x"'), Verdict.FAILED),
        (FileRequest(if_match=b'W/"abc"'), Verdict.FAILED),
        (FileRequest(if_match=ETAG, if_unmodified_since=EARLIER), Verdict.WHOLE),
        (FileRequest(if_match=ETAG, if_none_match=ETAG), Verdict.UNCHANGED),
        (FileRequest(if_match=b'"x"', if_none_match=ETAG), Verdict.FAILED),
        (FileRequest(if_unmodified_since=EARLIER), Verdict.FAILED),
        (FileRequest(if_unmodified_since=MODIFIED_TEXT), Verdict.WHOLE),
        (FileRequest(if_unmodified_since=b"nonsense"), Verdict.WHOLE),
        (FileRequest(if_unmodified_since=EARLIER, if_none_match=ETAG), Verdict.FAILED),
    ],
)
def test_conditions_are_evaluated_in_their_order(asked, expected):
    """RFC 9110 13.2.2."""
    assert judge(asked, etag=ETAG, modified=MODIFIED, modified_text=MODIFIED_TEXT) is expected


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (FileRequest(range=b"bytes=0-9"), (Verdict.PART, 0, 10)),
        (FileRequest(range=b"bytes=90-"), (Verdict.PART, 90, 100)),
        (FileRequest(range=b"bytes=90-1000"), (Verdict.PART, 90, 100)),
        (FileRequest(range=b"bytes=-10"), (Verdict.PART, 90, 100)),
        (FileRequest(range=b"bytes=-1000"), (Verdict.PART, 0, 100)),
        (FileRequest(range=b"BYTES= 0-0 "), (Verdict.PART, 0, 1)),
        (FileRequest(range=b"bytes=100-"), (Verdict.OUTSIDE, 0, 0)),
        (FileRequest(range=b"bytes=200-300"), (Verdict.OUTSIDE, 0, 0)),
        (FileRequest(range=b"bytes=-0"), (Verdict.OUTSIDE, 0, 0)),
        # What is no range, or several, is as if it were not there.
        (FileRequest(range=b"bytes=9-0"), (Verdict.WHOLE, 0, 100)),
        (FileRequest(range=b"bytes=0-1,5-6"), (Verdict.WHOLE, 0, 100)),
        (FileRequest(range=b"bytes=-"), (Verdict.WHOLE, 0, 100)),
        (FileRequest(range=b"lines=0-1"), (Verdict.WHOLE, 0, 100)),
        (FileRequest(range=b"bytes=" + b"9" * 40 + b"-"), (Verdict.WHOLE, 0, 100)),
        (FileRequest(range=b"bytes=0-9", if_range=ETAG), (Verdict.PART, 0, 10)),
        (FileRequest(range=b"bytes=0-9", if_range=MODIFIED_TEXT), (Verdict.PART, 0, 10)),
        (FileRequest(range=b"bytes=0-9", if_range=b'"old"'), (Verdict.WHOLE, 0, 100)),
        (FileRequest(range=b"bytes=0-9", if_range=b'W/"abc"'), (Verdict.WHOLE, 0, 100)),
        (FileRequest(range=b"bytes=0-9", if_range=LATER), (Verdict.WHOLE, 0, 100)),
    ],
)
def test_a_single_range_is_given(asked, expected):
    """RFC 9110 14.2, and 13.1.5 for If-Range."""
    assert part_of(asked, size=100, etag=ETAG, modified_text=MODIFIED_TEXT) == expected


def test_of_nothing_there_is_no_part():
    """A range of an empty file lies outside of it."""
    assert part_of(FileRequest(range=b"bytes=0-"), size=0, etag=ETAG, modified_text=MODIFIED_TEXT)[0] is Verdict.OUTSIDE
