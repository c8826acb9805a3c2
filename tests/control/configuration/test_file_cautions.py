"""What is said of directories of files that are missing or too large, and of a disk that is too small."""

from __future__ import annotations

from pathlib import Path

import pytest

from hotswap.control.configuration.file_cautions import find_file_cautions
from hotswap.control.configuration.loading import load_configuration

LISTENER = '[listeners.public]\nbind = ["127.0.0.1:0"]\n'
APP = '[pools.web]\nserver = "gunicorn"\napp = "shop.wsgi:application"\ndirectory = "app"\nspool = "1MiB"\n'


def told(tmp_path: Path, route: str, pool: str = APP) -> list[str]:
    """What is said of a route with these keys."""
    (tmp_path / "app" / "dist").mkdir(parents=True, exist_ok=True)
    path = tmp_path / "hotswap.toml"
    path.write_text(f"{LISTENER}[[routes]]\n{route}\n{pool}", encoding="utf-8")
    return list(find_file_cautions(load_configuration(path)))


def test_what_is_there_gives_no_cause(tmp_path: Path):
    """Directories, the page for what is not found, and room on the disk."""
    (tmp_path / "media").mkdir()
    (tmp_path / "app" / "dist").mkdir(parents=True)
    (tmp_path / "app" / "dist" / "index.html").write_text("x")
    assert told(tmp_path, 'pool = "web"\nfiles = "dist"\nfallback = "index.html"') == []
    assert told(tmp_path, f'pool = "web"\nfiles = "{tmp_path}/media"') == []


@pytest.mark.parametrize(
    ("route", "words"),
    [
        ('pool = "web"\nfiles = "staticfiles"', "app/staticfiles now, so pool web is asked for every file; have a"),
        ('files = "/srv/none"', "routes[0].files: there is no directory /srv/none now, so every file is answered 404"),
        ('pool = "web"\nfiles = "dist"\nfallback = "index.html"', "routes[0].fallback: there is no file"),
        ('files = "/etc"', "/etc is of the whole machine"),
        ('files = "//"', "is of the whole machine"),
        ('pool = "web"\nfiles = "."', "is the release itself"),
        ('pool = "web"\nfiles = "dist/./"\nfallback = "a.html"', "routes[0].fallback"),
        ('pool = "web"\nstrip_prefix = true', "routes[0].strip_prefix: there is nothing to take off"),
    ],
)
def test_what_will_disappoint_is_told_with_a_way_out(tmp_path: Path, route: str, words: str):
    """One sentence, with the key it is about."""
    (caution,) = told(tmp_path, route)
    assert words in caution


def test_a_link_to_a_directory_of_the_machine_is_one(tmp_path: Path):
    """Wherever the link is."""
    (tmp_path / "link").symlink_to("/etc")
    (caution,) = told(tmp_path, f'files = "{tmp_path}/link"')
    assert "of the whole machine" in caution


def test_a_spool_that_the_disk_cannot_hold_is_told_where_it_is_used(tmp_path: Path):
    """An app that is not buffered needs none."""
    large = APP.replace("1MiB", "900000GiB")
    (caution,) = told(tmp_path, 'pool = "web"', large)
    assert caution.startswith("pools.web.spool is 900000GiB")
    assert told(tmp_path, 'pool = "web"', large.replace("gunicorn", "uvicorn")) == []
    assert told(tmp_path, 'pool = "web"', large + "buffer = false\n") == []
