"""Static files, media and built front ends, found by reading what is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from hotswap.cli.site_files import FileRoute, find_site_files

MANAGE = 'import os\nos.environ.setdefault("DJANGO_SETTINGS_MODULE", "{module}")\n'
BASE = "from pathlib import Path\nBASE_DIR = Path(__file__).resolve().parent.parent\nSTATIC_URL = 'static/'\n"


def found(root: Path, settings: dict[str, str], module: str = "shop.settings") -> dict[str, FileRoute]:
    """What is found of a Django project with these files of settings, by the path."""
    (root / "manage.py").write_text(MANAGE.format(module=module))
    for name, text in settings.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return {route.path: route for route in find_site_files(root, root, django=True)}


@pytest.mark.parametrize(
    ("written", "files"),
    [
        ('BASE_DIR / "staticfiles"', "staticfiles"),
        ('str(BASE_DIR / "a" / "b")', "a/b"),
        ('os.path.join(BASE_DIR, "static", "root")', "static/root"),
        ('BASE_DIR.joinpath("public")', "public"),
        ('Path(BASE_DIR, "public")', "public"),
        ('f"{BASE_DIR}/public"', "public"),
        ('str(BASE_DIR) + "/public"', "public"),
        ('BASE_DIR.parent / "public"', "../public"),
        ('"/srv/static"', "/srv/static"),
        ('Path(__file__).parents[1] / "public"', "public"),
        ('os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "public")', "public"),
    ],
)
def test_paths_are_understood_as_projects_write_them(tmp_path: Path, written: str, files: str) -> None:
    """Below the project they are of each release; elsewhere they are one directory."""
    route = found(tmp_path, {"shop/settings.py": f"{BASE}STATIC_ROOT = {written}\n"})["/static/"]
    expected = str((tmp_path / files).resolve()) if files.startswith("..") else files
    assert (route.files, route.sure) == (expected, True)


@pytest.mark.parametrize(
    "written", ['env("STATIC_ROOT")', "root - 1", '"x" if DEBUG else "y"', "BASE_DIR / NAME", "[]"]
)
def test_what_is_not_understood_is_proposed_and_no_more(tmp_path: Path, written: str) -> None:
    """As is what is missing."""
    for line in (f"STATIC_ROOT = {written}\n", ""):
        route = found(tmp_path, {"shop/settings.py": BASE + line})["/static/"]
        assert (route.files, route.sure) == ("staticfiles", False)
        assert "collectstatic" in route.hint


def test_media_are_one_directory(tmp_path: Path) -> None:
    """Which outlives releases; without a root there are none."""
    settings = f"{BASE}MEDIA_URL = '/media/'\n"
    assert set(found(tmp_path, {"shop/settings.py": settings})) == {"/static/"}
    route = found(tmp_path, {"shop/settings.py": settings + 'MEDIA_ROOT = BASE_DIR / "media"\n'})["/media/"]
    assert (route.files, route.sure) == (str(tmp_path / "media"), True)


@pytest.mark.parametrize("url", ["https://cdn.example.org/static/", "//cdn.example.org/", "/", "/a b/", '/"x/'])
def test_what_is_elsewhere_has_no_route(tmp_path: Path, url: str) -> None:
    """Or is no path that a route can have."""
    assert found(tmp_path, {"shop/settings.py": f"{BASE}STATIC_URL = {url!r}\n"}) == {}


def test_settings_in_a_package_build_on_each_other(tmp_path: Path) -> None:
    """The one that is named has the last word, and those for development have none."""
    settings = {
        "shop/settings/__init__.py": "",
        "shop/settings/base.py": BASE.replace(".parent.parent", ".parent.parent.parent")
        + 'STATIC_ROOT = BASE_DIR / "base"\nMEDIA_URL = "m/"\nMEDIA_ROOT = BASE_DIR / "m"\n',
        "shop/settings/development.py": 'from .base import *\nSTATIC_ROOT = "/development"\n',
        "shop/settings/production.py": 'from .base import *\nSTATIC_ROOT = BASE_DIR / "production"\n',
    }
    routes = found(tmp_path, settings, module="shop.settings.production")
    assert (routes["/static/"].files, routes["/m/"].files) == ("production", str(tmp_path / "m"))


def test_settings_that_cannot_be_read_are_passed_over(tmp_path: Path) -> None:
    """Broken, not there, or named by nothing."""
    assert not found(tmp_path, {"shop/settings.py": "def ("})["/static/"].sure
    (tmp_path / "shop" / "settings.py").unlink()
    (tmp_path / "manage.py").write_text("")
    assert [route.sure for route in find_site_files(tmp_path, tmp_path, django=True)] == [False]


@pytest.mark.parametrize(
    ("place", "root", "files"), [("dist", ".", "dist"), ("web/dist", ".", "web/dist"), ("web/dist", "api", None)]
)
def test_a_built_front_end_is_found(tmp_path: Path, place: str, root: str, files: str | None) -> None:
    """Beside the app or above it; outside of its release it is one directory."""
    (tmp_path / "api").mkdir()
    (tmp_path / "node_modules" / "dist").mkdir(parents=True)
    (tmp_path / "node_modules" / "dist" / "index.html").touch()
    assert find_site_files(tmp_path, tmp_path, django=False) == ()
    (tmp_path / place).mkdir(parents=True)
    (tmp_path / place / "index.html").touch()
    (route,) = find_site_files(tmp_path, tmp_path / root, django=False)
    assert (route.path, route.files, route.fallback) == ("/", files or str(tmp_path / place), "index.html")
