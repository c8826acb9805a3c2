"""Files that backends name: found below the directories of the pool, and nowhere else."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap.core.http.sendfile import (
    FilePlace,
    SendfileRefusal,
    place_of_path,
    place_of_uri,
    sendfile_roots,
)

ROOTS = sendfile_roots({"/protected/": "/srv/private", "/protected/films/": "/media/films/", "/ü/": "/srv/private/u"})


@pytest.mark.parametrize(
    ("value", "directory", "path"),
    [
        (b"/protected/a.pdf", "/srv/private", b"a.pdf"),
        (b"/protected/a%20b.pdf", "/srv/private", b"a b.pdf"),
        (b"/protected/a b.pdf", "/srv/private", b"a b.pdf"),
        (b"/protected/deep/er/a.pdf", "/srv/private", b"deep/er/a.pdf"),
        (b"/protected//a.pdf", "/srv/private", b"a.pdf"),
        (b"/protected/films/a.mp4", "/media/films/", b"a.mp4"),
        (b"/protected/filmstrip/a.mp4", "/srv/private", b"filmstrip/a.mp4"),
        (b"/protected/a.pdf?token=%zz/../x", "/srv/private", b"a.pdf"),
        (b"/protected/a%3Fb", "/srv/private", b"a?b"),
        (b"/protected/a%2520b", "/srv/private", b"a%20b"),
        (b"/protected/%C3%A4.pdf", "/srv/private", "ä.pdf".encode()),
        (b"/protected/\xc3\xa4.pdf", "/srv/private", "ä.pdf".encode()),
        (b"/protected/\xe4.pdf", "/srv/private", "ä.pdf".encode()),
        (b"/%70rotected/a.pdf", "/srv/private", b"a.pdf"),
        (b"/%C3%BC/a.pdf", "/srv/private/u", b"a.pdf"),
        (b"/protected/.hidden", "/srv/private", b".hidden"),
    ],
)
def test_an_accel_redirect_is_a_url_path_below_the_longest_prefix(value, directory, path):
    """Decoded once; a query says nothing of a file."""
    assert place_of_uri(value, ROOTS) == FilePlace(directory=directory, path=path)


@pytest.mark.parametrize(
    ("value", "refusal"),
    [
        (b"", SendfileRefusal.NOT_A_PATH),
        (b"@named", SendfileRefusal.NOT_A_PATH),
        (b"http://example.org/protected/a", SendfileRefusal.NOT_A_PATH),
        (b"/other/a.pdf", SendfileRefusal.OUTSIDE),
        (b"/protectedx/a.pdf", SendfileRefusal.OUTSIDE),
        (b"/protected", SendfileRefusal.OUTSIDE),
        (b"/protected/", SendfileRefusal.DIRECTORY),
        (b"/protected/deep/", SendfileRefusal.DIRECTORY),
        (b"/protected/../etc/passwd", SendfileRefusal.NOT_PLAIN),
        (b"/protected/%2e%2e/etc/passwd", SendfileRefusal.NOT_PLAIN),
        (b"/protected/..%2fetc/passwd", SendfileRefusal.NOT_PLAIN),
        (b"/protected/./a", SendfileRefusal.NOT_PLAIN),
        (b"/protected/a%00.pdf", SendfileRefusal.NOT_PLAIN),
        (b"/protected/100%.pdf", SendfileRefusal.BAD_ESCAPE),
        (b"/protected/" + b"a" * 8192, SendfileRefusal.TOO_LONG),
    ],
)
def test_an_accel_redirect_that_names_no_file_is_refused(value, refusal):
    """With the reason for the log."""
    assert place_of_uri(value, ROOTS) is refusal


@pytest.mark.parametrize(
    ("value", "directory", "path"),
    [
        (b"/srv/private/a b.pdf", "/srv/private", b"a b.pdf"),
        (b"/srv/private/100%.pdf", "/srv/private", b"100%.pdf"),
        (b"/srv/private/a%20b?c", "/srv/private", b"a%20b?c"),
        (b"/srv/private/u/a", "/srv/private/u", b"a"),
        (b"/media/films/a.mp4", "/media/films/", b"a.mp4"),
        (b"/srv/private/\xe4.pdf", "/srv/private", "ä.pdf".encode()),
    ],
)
def test_a_sendfile_is_a_path_of_the_file_system_below_the_longest_directory(value, directory, path):
    """Taken as it is: nothing is decoded, and a question mark is a letter."""
    assert place_of_path(value, ROOTS) == FilePlace(directory=directory, path=path)


@pytest.mark.parametrize(
    ("value", "refusal"),
    [
        (b"a.pdf", SendfileRefusal.NOT_A_PATH),
        (b"/etc/passwd", SendfileRefusal.OUTSIDE),
        (b"/srv/private", SendfileRefusal.OUTSIDE),
        (b"/srv/private/", SendfileRefusal.DIRECTORY),
        (b"/srv/privateer/a", SendfileRefusal.OUTSIDE),
        (b"/protected/a.pdf", SendfileRefusal.OUTSIDE),
        (b"/srv/private/../secret", SendfileRefusal.NOT_PLAIN),
    ],
)
def test_a_sendfile_outside_is_refused(value, refusal):
    """The prefixes of X-Accel-Redirect mean nothing here."""
    assert place_of_path(value, ROOTS) is refusal


def test_a_pool_without_entries_has_no_file():
    """Whatever is asked for."""
    assert place_of_uri(b"/protected/a", ()) is SendfileRefusal.OUTSIDE
    assert place_of_path(b"/srv/private/a", ()) is SendfileRefusal.OUTSIDE


@given(st.lists(st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1), min_size=1))
def test_any_name_of_a_file_is_found_as_it_was_quoted(segments):
    """Quoted as apps quote, it is the same file; one that is not plain is refused."""
    path = "/".join(segments)
    found = place_of_uri(b"/protected/" + quote(path).encode(), sendfile_roots({"/protected/": "/srv"}))
    if {".", ".."} & set(segments):
        assert found is SendfileRefusal.NOT_PLAIN
    elif len(quote(path)) < 8000:
        assert found == FilePlace(directory="/srv", path=path.encode())


@given(st.binary())
def test_nothing_leaves_its_directory(value):
    """Any bytes at all: what is found is plain segments."""
    for found in (
        place_of_uri(b"/protected/" + value, ROOTS),
        place_of_path(b"/srv/private/" + value, ROOTS),
        place_of_uri(value, ROOTS),
        place_of_path(value, ROOTS),
    ):
        if isinstance(found, FilePlace):
            segments = found.path.split(b"/")
            assert not {b"", b".", b".."} & set(segments)
            assert b"\0" not in found.path
