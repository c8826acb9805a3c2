"""Front ends of real projects, replaced whole by an example: each before a stand-in for the app, asked as a visitor.

What the page for those who come from gunicorn and nginx says that a directive has become is seen here by HTTP.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import bcrypt
import pytest
import trio
from websockets.trio.client import connect as connect_websocket

from tests.support.browser import open_browser
from tests.support.client import open_connection
from tests.support.site import Site, collect_static, point_current, run_site, write_release

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
BUILT = Path(__file__).parents[1] / "support" / "studio" / "built"
SEVEN_DAYS = "max-age=604800"
YEAR_AND_IMMUTABLE = "public, max-age=31536000, immutable"

# A Django project with static files and media

TICKETS_SETTINGS = """\
import os
from pathlib import Path

BASE_DIR = Path(__file__).parents[1]
SECRET_KEY = os.environ["SECRET_KEY"]
ALLOWED_HOSTS = ["tickets.example.org"]
ROOT_URLCONF = "tickets.urls"
INSTALLED_APPS = [
    "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.admin", "django.contrib.messages",
    "django.contrib.staticfiles", "tickets",
]
STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "static.dist"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"},
}
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
DATA_UPLOAD_MAX_MEMORY_SIZE = None
"""

TICKETS_URLS = """\
import os

from django.http import HttpResponse, JsonResponse
from django.templatetags.static import static
from django.urls import path
from django.views.decorators.csrf import csrf_exempt


def home(request):
    return HttpResponse(f'<link rel="stylesheet" href="{static("site.css")}">' + "<p>a long page</p>" * 200)


def whoami(request):
    return JsonResponse({"url": request.build_absolute_uri(), "address": request.META["REMOTE_ADDR"]})


@csrf_exempt
def upload(request):
    return HttpResponse(str(len(request.body)))


@csrf_exempt
def die(request):
    os._exit(1)


urlpatterns = [
    path("", home),
    path("whoami", whoami),
    path("upload", upload),
    path("die", die),
    path("control/", lambda request: HttpResponse("the office")),
    path("healthcheck/", lambda request: HttpResponse("healthy")),
]
"""

TICKETS_WSGI = "from django.core.wsgi import get_wsgi_application\n\napplication = get_wsgi_application()\n"

TICKETS = {
    "tickets/__init__.py": "",
    "tickets/settings.py": TICKETS_SETTINGS,
    "tickets/urls.py": TICKETS_URLS,
    "tickets/wsgi.py": TICKETS_WSGI,
    "tickets/static/site.css": "body { background: url(paper.svg) }\n" + "p { color: green }\n" * 100,
    "tickets/static/paper.svg": "<svg xmlns='http://www.w3.org/2000/svg'/>",
}


async def lay_tickets(directory: Path) -> None:
    """A release whose static files are collected, uploads, secrets, and pages for errors."""
    release = directory / "releases" / "1"
    write_release(release, TICKETS)
    await collect_static(release, "tickets.settings")
    point_current(release)
    write_release(
        directory,
        {
            "secrets.env": "SECRET_KEY=secret\nDJANGO_SETTINGS_MODULE=tickets.settings\n",
            "media/posters/summer.txt": "a poster",
            "media/invoices/1.txt": "a secret",
            "media/cachedfiles/1.txt": "another",
            "pages/502.html": "<!doctype html><title>502</title>We are repairing it.\n",
        },
    )


async def pieces(*data: bytes):
    """A body whose length is not told."""
    for one in data:
        yield one


@pytest.mark.fail_after(120)
async def test_the_front_of_a_django_project_with_static_files_and_media_is_replaced(tmp_path: Path) -> None:
    """Each directive of pretix's nginx has its effect, and so have pages for errors and an office that is let in."""
    await lay_tickets(tmp_path)
    office = {'"10.8.0.0/16"': '"127.0.0.9/32"'}
    async with (
        run_site("django.toml", "/srv/tickets", tmp_path, "tickets.example.org", replaced=office) as site,
        site.visitor() as visitor,
    ):
        # proxy_pass, X-Forwarded-For, X-Forwarded-Proto, Host
        told = (await visitor.get("/whoami", headers={"X-Forwarded-For": "6.6.6.6", "X-Real-IP": "6.6.6.6"})).json()
        assert told == {"url": "https://tickets.example.org/whoami", "address": "127.0.0.1"}
        # add_header
        home = await visitor.get("/")
        assert home.headers["referrer-policy"] == "same-origin"
        assert home.headers["x-content-type-options"] == "nosniff"
        assert home.headers["strict-transport-security"] == "max-age=31536000"
        # location /static/, expires
        (style,) = re.findall(r'href="([^"]+)"', home.text)
        css = await visitor.get(style)
        assert (css.status_code, css.headers["cache-control"]) == (200, YEAR_AND_IMMUTABLE)
        assert css.headers["content-type"] == "text/css; charset=utf-8"
        (paper,) = re.findall(r"url\(\"?([^)\"]+)", css.text)
        assert (await visitor.get(f"/static/{paper}")).headers["content-type"] == "image/svg+xml"
        unhashed = await visitor.get("/static/admin/css/base.css")
        assert (unhashed.status_code, unhashed.headers["cache-control"]) == (200, "no-cache")
        again = await visitor.get("/static/admin/css/base.css", headers={"If-None-Match": unhashed.headers["etag"]})
        assert again.status_code == 304
        assert (await visitor.get("/static/nothing.css")).status_code == 404
        # location /media/, expires 7d; the two that are closed
        poster = await visitor.get("/media/posters/summer.txt")
        assert (poster.text, poster.headers["cache-control"]) == ("a poster", SEVEN_DAYS)
        for closed in ("/media/invoices/1.txt", "/media/cachedfiles/1.txt", "/media/%69nvoices/1.txt"):
            assert (await visitor.get(closed)).status_code == 403, closed
        for outside in ("/media/../secrets.env", "/media/%2e%2e/secrets.env", "/static/%2e%2e/tickets/settings.py"):
            assert (await visitor.get(outside)).status_code in {400, 404}, outside
        # gzip, gzip_vary, gzip_proxied any
        for path in ("/", style):
            packed = await visitor.get(path, headers={"Accept-Encoding": "gzip", "Via": "1.1 other"})
            assert packed.headers["content-encoding"] == "gzip", path
            assert "accept-encoding" in packed.headers["vary"].lower()
            assert packed.text == (await visitor.get(path)).text
        # client_max_body_size, proxy_request_buffering
        body = pieces(b"x" * 70_000, b"y" * 70_000)
        assert (await visitor.post("/upload", content=body)).text == "140000"
        assert await refused_upload(site, 100 * 1024 * 1024 + 1) == 413
        # location /control/ { allow; deny all; }
        assert (await visitor.get("/control/")).status_code == 403
        async with site.visitor(address="127.0.0.9") as colleague:
            assert (await colleague.get("/control/")).text == "the office"
        # error_page 502
        broken = await visitor.post("/die", headers=BROWSER)
        assert (broken.status_code, "We are repairing it." in broken.text) == (502, True)
        # listen 80, return 301
        await assert_bounced(site, "/static/x?y=z")
        # access_log off
        await assert_logged(site, "/whoami", never=("/static/admin/", "/static/site.", "/media/posters"))


async def refused_upload(site: Site, length: int) -> int:
    """Announce a body that is too long, and give the status of the answer."""
    async with open_connection(await site.target()) as connection:
        await connection.send_head("POST", "/upload", headers=(("Content-Length", str(length)),))
        return (await connection.head())[0]


async def assert_bounced(site: Site, path: str) -> None:
    """The listener without TLS leads to the one with it."""
    async with site.visitor(listener="bounce") as visitor:
        answer = await visitor.get(path)
        assert (answer.status_code, answer.headers["location"]) == (301, f"https://{site.host}{path}")


async def assert_logged(site: Site, path: str, *, never: Sequence[str]) -> None:
    """The access log has a line for a path, and none for others; they came before it."""
    async with site.visitor() as visitor:
        await visitor.get(f"{path}?last")
    log = trio.Path(site.hotswap.directory / "access.log")
    while f"{path}?last" not in (text := await log.read_text(encoding="utf-8")):
        await site.hotswap.wait_more(at_most=0.05)
    assert not [line for line in text.splitlines() if any(other in line for other in never)]


# A single-page app with an API

STUDIO_API = """\
from flask import Flask, jsonify, redirect, request, url_for

app = Flask(__name__)


@app.get("/whoami")
def whoami():
    return jsonify(path=request.path, root=request.script_root, url=url_for("whoami", _external=True))


@app.get("/old")
def old():
    return redirect(url_for("whoami"))


@app.get("/shots")
def shots():
    return jsonify([f"shot {number}" for number in range(500)])


@app.post("/upload")
def upload():
    return str(len(request.get_data()))


@app.get("/healthz")
def healthz():
    return "healthy"
"""

STUDIO_EVENTS = """\
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute


async def events(socket):
    await socket.accept()
    await socket.send_text(f"{await socket.receive_text()} from {socket.url.scheme} for {socket.client.host}")
    await socket.receive()


async def healthz(request):
    return PlainTextResponse("healthy")


app = Starlette(routes=[WebSocketRoute("/events", events), Route("/healthz", healthz)])
"""


def lay_studio(directory: Path) -> None:
    """A release: the API, the process for events, and what Vite has built."""
    release = directory / "releases" / "1"
    write_release(release, {"api.py": STUDIO_API, "events.py": STUDIO_EVENTS})
    shutil.copytree(BUILT, release / "dist")
    point_current(release)


@pytest.mark.fail_after(120)
async def test_the_front_of_a_single_page_app_with_an_api_is_replaced(tmp_path: Path) -> None:
    """Each directive of Kitsu's nginx has its effect, and so have www, compression and assets that never change."""
    lay_studio(tmp_path)
    index = (BUILT / "index.html").read_text(encoding="utf-8")
    hosts = ("studio.example.org", "www.studio.example.org")
    async with run_site("single-page-app.toml", "/srv/studio", tmp_path, *hosts) as site, site.visitor() as visitor:
        # root, index, try_files $uri $uri/ /index.html
        for path in ("/", "/index.html", "/projects/7", "/projects/7/shots?page=2"):
            page = await visitor.get(path, headers=BROWSER)
            assert (page.status_code, page.text) == (200, index), path
            assert page.headers["cache-control"] == "no-cache"
            assert page.headers["x-frame-options"] == "DENY"
        # location /assets/ { try_files $uri =404; immutable }
        for file in (BUILT / "assets").iterdir():
            asset = await visitor.get(f"/assets/{file.name}")
            assert (asset.status_code, asset.content) == (200, file.read_bytes())
            assert asset.headers["cache-control"] == YEAR_AND_IMMUTABLE, file.name
        gone = await visitor.get("/assets/index-AAAAAAAA.js", headers={"Accept": "*/*"})
        assert (gone.status_code, gone.text != index) == (404, True)
        assert (await visitor.get("/robots.txt")).headers["content-type"] == "text/plain; charset=utf-8"
        # location /api/ { proxy_pass http://…/; }
        told = (await visitor.get("/api/whoami")).json()
        assert told == {"path": "/whoami", "root": "/api", "url": "https://studio.example.org/api/whoami"}
        assert (await visitor.get("/api/old")).headers["location"] == "/api/whoami"
        assert (await visitor.get("/api/nothing")).status_code == 404
        assert (await visitor.post("/api/upload", content=pieces(b"x" * 200_000))).text == "200000"
        # gzip
        packed = await visitor.get("/api/shots", headers={"Accept-Encoding": "gzip"})
        assert packed.headers["content-encoding"] == "gzip"
        assert len(packed.json()) == 500
        # server_name www…; return 301
        async with site.visitor("www.studio.example.org") as other:
            moved = await other.get("/projects/7?a=b")
            assert (moved.status_code, moved.headers["location"]) == (301, "https://studio.example.org/projects/7?a=b")
        await assert_bounced(site, "/projects/7")
        # proxy_set_header Upgrade
        await assert_events(site)
        await assert_seen_in_a_browser(site)


async def assert_events(site: Site) -> None:
    """A WebSocket is carried, and its app told who is there."""
    target = await site.target()
    assert not isinstance(target.address, Path)
    stream = await trio.open_tcp_stream(*target.address)
    async with connect_websocket(
        f"wss://{site.host}/events", stream=stream, ssl=site.names.client, server_hostname=site.host
    ) as socket:
        await socket.send("hello")
        assert await socket.recv() == "hello from wss for 127.0.0.1"


async def assert_seen_in_a_browser(site: Site) -> None:
    """The app starts, routes by the path, and reaches API, events and the part that is loaded late."""
    target = await site.hotswap.target("public")
    assert not isinstance(target.address, Path)
    rule = f"MAP {site.host} 127.0.0.1:{target.address[1]}"
    async with open_browser(flags=(f"--host-resolver-rules={rule}", "--ignore-certificate-errors")) as browser:
        await browser.open(f"https://{site.host}/projects/7")
        await browser.wait("document.querySelector('#event').textContent.includes('hello')")
        await browser.wait("document.querySelector('#late').textContent.includes('late')")
        await browser.wait("document.querySelector('#api').textContent.includes('/whoami at /api')")
        assert await browser.ask("return document.querySelector('h1').textContent") == "Project 7"
        assert await browser.ask("return document.querySelector('img').naturalWidth") > 0
        assert await browser.complaints() == []


# An app that needs internal redirects

INDICO_SITE = """\
from pathlib import Path
from urllib.parse import quote

from flask import Flask, abort, request, send_file

app = Flask(__name__)
app.config["USE_X_SENDFILE"] = True
ARCHIVE = Path(__file__).resolve().parents[2] / "archive"


@app.get("/")
def home():
    return f"{request.url} for {request.authorization.username if request.authorization else 'all'}"


@app.get("/attachments/<path:name>")
def attachment(name):
    if request.args.get("as") != "speaker":
        abort(403)
    answer = send_file(ARCHIVE / name, as_attachment=True, download_name=name)
    answer.headers["Content-Security-Policy"] = "script-src 'self'"
    if request.args.get("by") != "sendfile":
        # What Indico's STATIC_FILE_METHOD does: the directory of the file becomes a path of the front end.
        path = answer.headers.pop("X-Sendfile")
        answer.headers["X-Accel-Redirect"] = quote(path.replace(str(ARCHIVE), "/.xsf/indico"))
    return answer


@app.get("/outside")
def outside():
    return "", 200, {"X-Accel-Redirect": "/.xsf/indico/../releases/1/indico_site.py"}


@app.route("/login/", methods=["GET", "POST"])
def login():
    return "who are you?"


@app.get("/healthz")
def healthz():
    return "healthy"
"""


def lay_indico(directory: Path) -> None:
    """A release, an archive, and a file of passwords."""
    release = directory / "releases" / "1"
    write_release(release, {"indico_site.py": INDICO_SITE, "web/static/dist/main.0123abcd.js": "let it"})
    point_current(release)
    hashed = bcrypt.hashpw(b"correct horse", bcrypt.gensalt(4)).decode()
    slides = {"archive/tälk one.txt": "slides " * 1000}
    write_release(directory, {**slides, "staging.htpasswd": f"reviewer:{hashed}\n"})


@pytest.mark.fail_after(120)
async def test_the_front_of_an_app_with_internal_redirects_is_replaced(tmp_path: Path) -> None:
    """Each directive of Indico's nginx has its effect, and so have a limit on logins and a staging area."""
    lay_indico(tmp_path)
    hosts = ("indico.example.org", "staging.indico.example.org", "other.example.org")
    async with run_site("internal-redirects.toml", "/srv/indico", tmp_path, *hosts) as site, site.visitor() as visitor:
        # location /.xsf/indico/ { internal; alias }
        slides = "slides " * 1000
        for by in ("accel", "sendfile"):
            path = f"/attachments/t%C3%A4lk%20one.txt?as=speaker&by={by}"
            given = await visitor.get(path)
            assert (given.status_code, given.text) == (200, slides)
            assert "attachment" in given.headers["content-disposition"]
            assert given.headers["content-security-policy"] == "script-src 'self'"
            assert not {"x-accel-redirect", "x-sendfile"} & set(given.headers)
            part = await visitor.get(path, headers={"Range": "bytes=0-5"})
            assert (part.status_code, part.text) == (206, "slides")
            head = await visitor.head(path)
            assert (head.headers["content-length"], head.content) == (str(len(slides)), b"")
        assert (await visitor.get("/attachments/t%C3%A4lk%20one.txt")).status_code == 403
        assert (await visitor.get("/.xsf/indico/t%C3%A4lk%20one.txt")).status_code == 404
        assert (await visitor.get("/outside")).status_code == 502
        # location ~ ^/(css|dist|…)/
        script = await visitor.get("/static/dist/main.0123abcd.js")
        assert (script.text, script.headers["content-type"]) == ("let it", "text/javascript; charset=utf-8")
        # if ($host != $server_name) { rewrite … permanent; }
        async with site.visitor("other.example.org") as stranger:
            moved = await stranger.get("/event/1?a=b")
            assert (moved.status_code, moved.headers["location"]) == (301, "https://indico.example.org/event/1?a=b")
        await assert_bounced(site, "/event/1")
        # limit_req zone=login burst=5 nodelay
        answers = [(await visitor.post("/login/")) for _ in range(8)]
        assert [answer.status_code for answer in answers[:6]] == [200] * 6
        assert (answers[-1].status_code, answers[-1].headers["retry-after"].isdigit()) == (429, True)
        assert (await visitor.get("/")).status_code == 200
        # auth_basic, auth_basic_user_file
        async with site.visitor("staging.indico.example.org") as reviewer:
            asked = await reviewer.get("/")
            assert (asked.status_code, asked.headers["www-authenticate"].startswith("Basic ")) == (401, True)
            assert (await reviewer.get("/", auth=("reviewer", "wrong"))).status_code == 401
            let_in = await reviewer.get("/", auth=("reviewer", "correct horse"))
            assert let_in.text == "https://staging.indico.example.org/ for reviewer"
        # access_log off
        await assert_logged(site, "/", never=("/static/dist",))
