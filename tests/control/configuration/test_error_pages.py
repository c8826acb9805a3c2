"""Pages of a pool, read with the configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from hotswap.control.configuration.contents import read_contents
from hotswap.control.configuration.error_pages import MAX_ALL_BYTES, page_paths, read_error_pages
from hotswap.control.configuration.loading import load_configuration
from hotswap.core.errors import ConfigError
from hotswap.core.pool.pause_answer import MAX_PAGE_BYTES

CONFIGURATION = """\
[listeners.public]
bind = ["127.0.0.1:0"]
[[routes]]
pool = "web"
[pools.web]
addresses = ["127.0.0.1:1"]
error_pages = "pages"
"""


@pytest.fixture
def pages(tmp_path: Path) -> Path:
    """A directory with one page."""
    directory = tmp_path / "pages"
    directory.mkdir()
    (directory / "503.html").write_bytes(b"soon")
    return directory


def test_each_page_is_of_the_status_in_its_name(pages):
    """By a link too; what has another name, and a directory, is nobody's business here."""
    (pages / "real.html").write_bytes(b"gone")
    (pages / "410.html").symlink_to("real.html")
    for name in ("200.html", "5xx.html", "0503.html", "503.htm", "503.html.bak", "logo.png"):
        (pages / name).write_bytes(b"\xff")
    (pages / "404.html").mkdir()
    assert read_error_pages(str(pages)) == ({503: b"soon", 410: b"gone"}, [])
    assert page_paths(str(pages)) == [str(pages / "410.html"), str(pages / "503.html")]


def test_the_contents_have_them_by_pool(tmp_path, pages):
    """Beside the file, where it is meant."""
    (tmp_path / "hotswap.toml").write_text(CONFIGURATION)
    config = load_configuration(tmp_path / "hotswap.toml")
    assert read_contents(config).pages == {"web": {503: b"soon"}}


def rename(pages: Path) -> None:
    """Have no directory of this name."""
    pages.rename(pages.with_name("other"))


def replace_by_file(pages: Path) -> None:
    """Have a file of this name."""
    rename(pages)
    pages.write_bytes(b"")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (rename, "there is none: make it, or name another"),
        (replace_by_file, "not a directory"),
        (lambda pages: (pages / "503.html").unlink(), "there is none in "),
        (lambda pages: (pages / "503.html").write_bytes(b""), "503.html is empty"),
        (lambda pages: (pages / "503.html").write_bytes(b"x" * (MAX_PAGE_BYTES + 1)), "503.html is larger than 1 MiB"),
        (lambda pages: (pages / "503.html").write_bytes("später".encode("latin-1")), "another byte at 2"),
        (lambda pages: (pages / "404.html").symlink_to("nowhere"), "404.html: no such file or directory"),
    ],
)
def test_what_is_wrong_with_them_is_a_problem_of_the_file(tmp_path, pages, spoil, words):
    """With the line of the key, found by whoever loads it and by whoever puts it to use."""
    (tmp_path / "hotswap.toml").write_text(CONFIGURATION)
    config = load_configuration(tmp_path / "hotswap.toml")
    spoil(pages)
    with pytest.raises(ConfigError) as raised:
        load_configuration(tmp_path / "hotswap.toml")
    (problem,) = raised.value.problems
    assert str(problem).startswith(f"{tmp_path}/hotswap.toml:7: pools.web.error_pages must be a directory with ")
    assert words in str(problem)
    # It may have been spoilt between the two.
    with pytest.raises(ConfigError, match=words):
        read_contents(config)


def test_the_pool_alone_can_be_reloaded_without_them(tmp_path, pages):
    """A reload of one pool does not read them: it is what repairs it."""
    (tmp_path / "hotswap.toml").write_text(CONFIGURATION)
    (pages / "503.html").unlink()
    assert load_configuration(tmp_path / "hotswap.toml", only_pool="web").pools["web"].error_pages == str(pages)


def test_all_of_them_have_a_limit(pages):
    """They are kept in memory."""
    for status in range(500, 500 + MAX_ALL_BYTES // MAX_PAGE_BYTES):
        (pages / f"{status}.html").write_bytes(b"x" * MAX_PAGE_BYTES)
    assert read_error_pages(str(pages))[1] == []
    (pages / "404.html").write_bytes(b"x")
    assert read_error_pages(str(pages))[1] == [f"a directory with at most 16 MiB of pages; {pages} has more"]
