"""Media behind a login as three frameworks have them answered by the server before them: strangers to this proxy."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.support.hotswap import Hotswap, run_hotswap
from tests.support.pools import table

DJANGO = """
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse, HttpResponseForbidden
from django.urls import path
from django_sendfile import sendfile
import os

settings.configure(
    SECRET_KEY="x", ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, INSTALLED_APPS=["django_sendfile"],
    MIDDLEWARE=["django.middleware.common.CommonMiddleware", "django.middleware.http.ConditionalGetMiddleware"],
    SENDFILE_BACKEND="django_sendfile.backends.nginx", SENDFILE_ROOT=os.environ["MEDIA"], SENDFILE_URL="/protected",
)

def media(request, name):
    if request.GET.get("user") != "ann":
        return HttpResponseForbidden("log in")
    return sendfile(request, os.path.join(os.environ["MEDIA"], name), attachment="as" in request.GET)

urlpatterns = [path("healthz", lambda request: HttpResponse("ok")), path("django/<path:name>", media)]
app = get_wsgi_application()
"""

FLASK = """
import os
from flask import Flask, abort, request, send_file

app = Flask(__name__)
app.config["USE_X_SENDFILE"] = True

@app.get("/healthz")
def healthz():
    return "ok"

@app.get("/flask/<path:name>")
def media(name):
    if request.args.get("user") != "ann":
        abort(403)
    return send_file(os.path.join(os.environ["MEDIA"], name), as_attachment="as" in request.args, max_age=60)
"""

STARLETTE = """
from urllib.parse import quote
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

async def healthz(request):
    return PlainTextResponse("ok")

async def media(request):
    if request.query_params.get("user") != "ann":
        return PlainTextResponse("log in", 403)
    where = {"X-Accel-Redirect": "/protected/" + quote(request.path_params["name"])}
    if "as" in request.query_params:
        where["Content-Disposition"] = "attachment"
    return Response(headers=where)

app = Starlette(routes=[Route("/healthz", healthz), Route("/starlette/{name:path}", media)])
"""

APPS = {"django": (DJANGO, "gunicorn"), "flask": (FLASK, "waitress"), "starlette": (STARLETTE, "uvicorn")}
LARGE = b"film " * 200_000


def configuration(directory: Path) -> str:
    """A pool for each, with one of them after the other behind its own path."""
    text = table("listeners.public", {"bind": ["127.0.0.1:0"]})
    for name, (source, server) in APPS.items():
        place = directory / name
        place.mkdir()
        (place / f"{name}_site.py").write_text(source, encoding="utf-8")
        text += f'[[routes]]\npath = "/{name}"\npool = "{name}"\n'
        pool = {
            "server": server,
            "app": f"{name}_site:app",
            "interface": "asgi" if name == "starlette" else "wsgi",
            "python": sys.executable,
            "directory": place,
            "size": 1,
            "environment": {"MEDIA": str(directory / "media")},
            "health": {"interval": "200ms"},
            "sendfile": {"/protected/": "media"},
        }
        text += table(f"pools.{name}", pool)
    return text


async def assert_answered(hotswap: Hotswap, name: str, server: str) -> None:
    """Each of them names files in its own way, and all are answered alike."""
    film = f"/{name}/film.mp4"
    assert (await hotswap.fetch(film)).status == 403
    whole = (await hotswap.fetch(f"{film}?user=ann")).expect()
    assert whole.body == LARGE
    assert whole.header("content-type") == "video/mp4"
    assert whole.header("content-length") == str(len(LARGE))
    assert not [key for key, _ in whole.headers if key.startswith(("x-accel", "x-sendfile"))]
    part = await hotswap.fetch(f"{film}?user=ann", headers=[("Range", "bytes=5-8")])
    assert (part.status, part.body, part.header("content-range")) == (206, b"film", f"bytes 5-8/{len(LARGE)}"), server
    etag = whole.header("etag")
    assert etag is not None
    same = await hotswap.fetch(f"{film}?user=ann", headers=[("If-None-Match", etag)])
    assert (same.status, same.body) == (304, b"")
    head = await hotswap.fetch(f"{film}?user=ann", method="HEAD")
    assert (head.status, head.header("content-length"), head.body) == (200, str(len(LARGE)), b"")
    # A name that has to be quoted, a small file, and one whose coding is told of its name.
    small = (await hotswap.fetch(f"/{name}/t%C3%A4lk%20100%25.txt?user=ann&as=file")).expect()
    assert small.body == b"slides"
    assert (small.header("content-disposition") or "").startswith("attachment")
    packed = (await hotswap.fetch(f"/{name}/logs.tar.gz?user=ann")).expect()
    assert (packed.body, packed.header("content-encoding")) == (b"\x1f\x8b", None)
    # It is the app's to say that there is none, where it looks.
    missing = await hotswap.fetch(f"/{name}/none.txt?user=ann")
    assert missing.status == (500 if name == "flask" else 404)
    escaping = await hotswap.fetch(f"/{name}/..%2Fhotswap.toml?user=ann")
    assert escaping.status in (400, 404, 502)
    assert b"listeners" not in escaping.body


@pytest.mark.fail_after(60)
async def test_media_behind_a_login_of_three_frameworks(tmp_path: Path) -> None:
    """django-sendfile2 behind gunicorn, Flask's USE_X_SENDFILE behind waitress, a field set by hand behind uvicorn."""
    media = tmp_path / "media"
    media.mkdir()
    (media / "film.mp4").write_bytes(LARGE)
    (media / "tälk 100%.txt").write_bytes(b"slides")
    (media / "logs.tar.gz").write_bytes(b"\x1f\x8b")
    async with run_hotswap(configuration(tmp_path), tmp_path) as hotswap:
        for name, (_, server) in APPS.items():
            await assert_answered(hotswap, name, server)
            (backend,) = await hotswap.backends(name)
            assert backend["in_flight"] == 0
