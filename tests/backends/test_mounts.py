"""Apps of real frameworks below a path that the proxy takes off: what they route, link and redirect to."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import flask
import pytest
from fastapi import FastAPI, Request

from hotswap_backends.serve import reads_whole_paths, told_scope, wrap_asgi, wrap_wsgi
from tests.support.hotswap import REPOSITORY

pytestmark = pytest.mark.fail_after(20)

FIELDS = {
    "host": "shop.test",
    "x-forwarded-for": "192.0.2.7",
    "x-forwarded-proto": "https",
    "x-forwarded-host": "shop.test",
    "x-forwarded-port": "443",
    "x-forwarded-prefix": "/shop/api",
}


def scope_of(target: str, fields: dict[str, str]) -> dict[str, Any]:
    """The scope of a request, as a server makes it."""
    return {
        "type": "http",
        "method": "GET",
        "http_version": "1.1",
        "scheme": "http",
        "root_path": "",
        "path": unquote(target),
        "raw_path": target.encode(),
        "query_string": b"",
        "client": None,
        "server": ("/run/a.sock", None),
        "headers": [(name.encode(), value.encode()) for name, value in fields.items()],
    }


async def get(app: Any, target: str, fields: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
    """Ask an ASGI app."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scope_of(target, fields), receive, send)
    headers = {name.decode().lower(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], headers, b"".join(message.get("body", b"") for message in sent[1:])


def shop() -> FastAPI:
    """An app that knows nothing of where it stands."""
    app = FastAPI()

    @app.get("/items/{item}/", name="item")
    async def item(request: Request) -> dict[str, str]:
        return {"link": str(request.url_for("item", item="1")), "own": str(request.url)}

    @app.get("/shop/api/items")
    async def like_the_prefix() -> str:
        return "the path within the app begins as the prefix does"

    return app


async def test_fastapi_links_redirects_and_documents_itself_below_the_prefix():
    """Nothing has to be configured for it."""
    app = wrap_asgi(shop())
    _, _, body = await get(app, "/items/1/", FIELDS)
    link = "https://shop.test/shop/api/items/1/"
    assert json.loads(body) == {"link": link, "own": link}
    status, headers, _ = await get(app, "/items/1", FIELDS)
    assert (status, headers["location"]) == (307, link)
    _, _, body = await get(app, "/openapi.json", FIELDS)
    assert json.loads(body)["servers"] == [{"url": "/shop/api"}]
    _, _, body = await get(app, "/docs", FIELDS)
    assert b"/shop/api/openapi.json" in body
    status, _, body = await get(app, "/shop/api/items", FIELDS)
    assert (status, b"within" in body) == (200, True)


async def test_fastapi_without_a_prefix_is_as_it_was():
    """No field, no mount."""
    fields = {name: value for name, value in FIELDS.items() if name != "x-forwarded-prefix"}
    _, _, body = await get(wrap_asgi(shop()), "/items/1/", fields)
    assert json.loads(body) == {"link": "https://shop.test/items/1/", "own": "https://shop.test/items/1/"}


async def test_a_prefix_that_the_proxy_did_not_write_is_not_believed():
    """What reaches a backend by another way than through the proxy has no chain of ours."""
    fields = {"host": "shop.test", "x-forwarded-prefix": "/evil"}
    scope = scope_of("/items", fields)
    assert told_scope(scope, whole=True) is scope
    environ = {"HTTP_X_FORWARDED_PREFIX": "/evil", "SCRIPT_NAME": "", "PATH_INFO": "/items"}
    assert flask_view(environ)[1] == "http://shop.test/items"


def test_an_app_without_a_framework_finds_its_path_in_path():
    """As `strip_prefix` says; frameworks that take `root_path` off it find it there."""
    assert reads_whole_paths()
    fields = {**FIELDS, "x-forwarded-prefix": "/a%20b/c"}
    plain = told_scope(scope_of("/items", fields))
    assert (plain["root_path"], plain["path"], plain["raw_path"]) == ("/a b/c", "/items", b"/items")
    whole = told_scope(scope_of("/items", fields), whole=True)
    assert (whole["root_path"], whole["path"], whole["raw_path"]) == ("/a b/c", "/a b/c/items", b"/a%20b/c/items")


def test_a_mount_of_the_server_s_own_settings_stays():
    """Such as uvicorn's --root-path, or SCRIPT_NAME for gunicorn."""
    scope = {**scope_of("/own/items", FIELDS), "root_path": "/own"}
    told = told_scope(scope, whole=True)
    assert (told["root_path"], told["path"]) == ("/own", "/own/items")


def flask_view(environ: dict[str, str]) -> tuple[str, str]:
    """Ask a Flask app; gives status and body, or where it redirects to."""
    app = flask.Flask(__name__)

    @app.get("/items")
    def items() -> str:
        return flask.url_for("items", _external=True)

    @app.get("/moved")
    def moved() -> Any:
        return flask.redirect(flask.url_for("items"))

    started: list[Any] = []
    start: Callable[..., Any] = lambda status, headers, *_: started.append((status, dict(headers)))  # noqa: E731
    given = {
        "REQUEST_METHOD": "GET",
        "SERVER_NAME": "x",
        "SERVER_PORT": "80",
        "HTTP_HOST": "shop.test",
        "wsgi.url_scheme": "http",
        "QUERY_STRING": "",
        "SERVER_PROTOCOL": "HTTP/1.1",
        **environ,
    }
    body = b"".join(wrap_wsgi(app)(given, start)).decode()
    status, headers = started[0]
    return status, headers.get("Location", body)


def test_flask_links_and_redirects_below_the_prefix():
    """SCRIPT_NAME says it, and PATH_INFO has it no more."""
    environ = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in FIELDS.items()}
    told = {**environ, "SCRIPT_NAME": "", "PATH_INFO": "/items"}
    assert flask_view(told) == ("200 OK", "https://shop.test/shop/api/items")
    assert flask_view({**told, "PATH_INFO": "/moved"}) == ("302 FOUND", "/shop/api/items")


DJANGO = """
import asyncio, io, json, sys
sys.path.insert(0, "backends")
from django.conf import settings
settings.configure(
    SECRET_KEY="x", ALLOWED_HOSTS=["shop.test"], ROOT_URLCONF="__main__",
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"], **json.loads(sys.argv[1]),
)
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path, reverse
from hotswap_backends.serve import wrap_asgi, wrap_wsgi

def items(request):
    return HttpResponse(" ".join([reverse("items"), request.path, request.build_absolute_uri()]))

urlpatterns = [path("items/", items, name="items")]
scope, environ = json.loads(sys.argv[2]), json.loads(sys.argv[3])
scope["headers"] = [(name.encode(), value.encode()) for name, value in scope["headers"]]
told = []

def receiver():
    events = [{"type": "http.request", "body": b""}]

    async def receive():
        return events.pop() if events else await asyncio.Event().wait()

    return receive

async def send(message):
    if "headers" in message:
        told.append(dict(message["headers"]).get(b"Location", b"").decode())
    elif message.get("body"):
        told.append(message["body"].decode())

asgi, wsgi = wrap_asgi(get_asgi_application()), wrap_wsgi(get_wsgi_application())
for target in ("/items/", "/items"):
    asyncio.run(asgi({**scope, "path": target, "raw_path": target.encode()}, receiver(), send))
    start = lambda status, headers, *_: told.append(dict(headers).get("Location", ""))
    told.append(b"".join(wsgi({**environ, "PATH_INFO": target, "wsgi.input": io.BytesIO()}, start)).decode())
print(json.dumps(told))
"""


@pytest.mark.parametrize("forced", [{}, {"FORCE_SCRIPT_NAME": "/shop/api"}])
def test_django_links_and_redirects_below_the_prefix(forced: dict[str, str]):
    """Under ASGI and WSGI, with FORCE_SCRIPT_NAME and without."""
    scope = {**scope_of("/", FIELDS), "headers": [*FIELDS.items()]}
    del scope["raw_path"], scope["query_string"]
    environ = {
        **{f"HTTP_{name.upper().replace('-', '_')}": value for name, value in FIELDS.items()},
        "REQUEST_METHOD": "GET",
        "SERVER_NAME": "x",
        "SERVER_PORT": "80",
        "SCRIPT_NAME": "",
        "wsgi.url_scheme": "http",
    }
    run = [sys.executable, "-c", DJANGO, json.dumps(forced), json.dumps(scope), json.dumps(environ)]
    told = json.loads(subprocess.run(run, cwd=REPOSITORY, check=True, capture_output=True).stdout)
    view = "/shop/api/items/ /shop/api/items/ https://shop.test/shop/api/items/"
    moved = "/shop/api/items/"
    assert [text for text in told if text] == [view, view, moved, moved]
