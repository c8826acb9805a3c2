"""What the runner of servers makes of an app, of what the proxy tells of a client, and of settings."""

from __future__ import annotations

import ast
import os
import sys
from importlib.util import module_from_spec
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any

import pytest

from hotswap_backends.serve import (
    APP_VARIABLE,
    MODULE,
    REMOVED_VARIABLES,
    AppFinder,
    find_app,
    leave_out,
    server_of,
    tell_environ,
    told_scope,
    wrap_asgi,
)
from tests.support.hotswap import REPOSITORY

SHOP = """
class Shop:
    def app(self, environ, start_response):
        return [b"method"]

shop = Shop()

def wsgi(environ, start_response):
    return [b"plain"]

def create(name="default"):
    def made(environ, start_response):
        return [name.encode()]
    return made

async def asgi(scope, receive, send):
    pass
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A module with apps in it."""
    (tmp_path / "shop_of_serve.py").write_text(SHOP)
    monkeypatch.syspath_prepend(tmp_path)
    yield "shop_of_serve"
    sys.modules.pop("shop_of_serve", None)


@pytest.mark.parametrize(
    ("attribute", "answer"),
    [
        ("wsgi", b"plain"),
        ("shop.app", b"method"),
        ("create", b"default"),
        ("create()", b"default"),
        ('create("production")', b"production"),
    ],
)
def test_an_app_is_found_as_servers_find_it(shop: str, attribute: str, answer: bytes):
    """An attribute, one of an attribute, what makes the app, and a call of that."""
    assert find_app(f"{shop}:{attribute}")({}, None) == [answer]


@pytest.mark.parametrize(("target", "error"), [("shop_of_serve:none", AttributeError), ("no_shop:app", ImportError)])
def test_an_app_that_is_not_there_is_python_s_own_error(shop: str, target: str, error: type[Exception]):
    """So that the last line of the output names it."""
    with pytest.raises(error, match=r"none|no_shop"):
        find_app(target)


def scope(kind: str = "http", **fields: str) -> dict[str, Any]:
    """A scope as a server makes it behind a Unix socket, with these fields."""
    headers = [(name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()]
    return {"type": kind, "client": None, "server": ("/run/a.sock", None), "scheme": "http", "headers": headers}


def test_a_single_hop_is_the_client():
    """As the proxy writes it where no other proxy is trusted."""
    told = told_scope(
        scope(
            host="shop.test",
            x_forwarded_for="2001:db8::9",
            x_forwarded_proto="https",
            x_forwarded_host="shop.test",
            x_forwarded_port="8443",
        )
    )
    assert (told["client"], told["scheme"], told["server"]) == (("2001:db8::9", 0), "https", ("shop.test", 8443))


def test_of_several_hops_the_proxy_says_which_it_is():
    """And the app does not see in which field."""
    told = told_scope(scope(x_forwarded_for="6.6.6.6, 203.0.113.5, 192.0.2.1", x_hotswap_client="203.0.113.5"))
    assert told["client"] == ("203.0.113.5", 0)
    assert [name for name, _ in told["headers"]] == [b"x-forwarded-for"]


@pytest.mark.parametrize("node", ["unknown", "_hidden", "203.0.113.5:80", ""])
def test_a_client_without_an_address_is_none(node: str):
    """What is no address is not shown as one."""
    assert told_scope(scope(x_forwarded_for="6.6.6.6", x_hotswap_client=node))["client"] is None
    environ = {"HTTP_X_FORWARDED_FOR": node, "REMOTE_ADDR": "127.0.0.1"}
    tell_environ(environ)
    assert environ["REMOTE_ADDR"] == ""


def test_a_websocket_has_its_own_schemes():
    """The scheme of a TLS listener is that of its requests."""
    assert told_scope(scope("websocket", x_forwarded_for="::1", x_forwarded_proto="https"))["scheme"] == "wss"
    assert told_scope(scope("websocket", x_forwarded_for="::1", x_forwarded_proto="http"))["scheme"] == "ws"


def test_a_request_of_which_the_proxy_says_nothing_is_left_as_it_is():
    """Its own health checks."""
    probe = scope(host="shop.test")
    assert told_scope(probe) is probe
    environ = {"REMOTE_ADDR": "as the server says"}
    tell_environ(environ)
    assert environ == {"REMOTE_ADDR": "as the server says"}


def test_a_wsgi_app_is_told_the_same():
    """In the words of CGI."""
    environ = {
        "REMOTE_ADDR": "",
        "REMOTE_PORT": "",
        "HTTP_X_FORWARDED_FOR": "6.6.6.6, 203.0.113.5",
        "HTTP_X_HOTSWAP_CLIENT": "203.0.113.5",
        "HTTP_X_FORWARDED_PROTO": "https, http",
        "HTTP_X_FORWARDED_HOST": "[2001:db8::1]:8443, inner",
        "HTTP_X_FORWARDED_PORT": "8443",
    }
    tell_environ(environ)
    assert environ["REMOTE_ADDR"] == "203.0.113.5"
    assert (environ["wsgi.url_scheme"], environ["HTTPS"]) == ("https", "on")
    assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == ("2001:db8::1", "8443")
    assert not {"REMOTE_PORT", "HTTP_X_HOTSWAP_CLIENT"} & set(environ)


@pytest.mark.parametrize("port", ["", "none", "²", "9" * 5000, "-1"])
def test_a_port_that_is_none_is_left_out(port: str):
    """A trusted proxy may have let pass what a client wrote."""
    assert server_of("shop.test:1", port) == ("shop.test", "")


@pytest.mark.fail_after(5)
async def test_apps_of_asgi_2_are_called_twice():
    """As the servers do that find one."""
    seen: list[object] = []

    class Old:
        def __init__(self, scope: dict[str, Any]) -> None:
            seen.append(scope["client"])

        async def __call__(self, receive: object, send: object) -> None:
            seen.append((receive, send))

    await wrap_asgi(Old)(scope(x_forwarded_for="::1"), "receive", "send")
    assert seen == [("::1", 0), ("receive", "send")]


@pytest.mark.fail_after(5)
async def test_the_lifespan_of_an_app_is_left_to_it():
    """There is no client."""
    seen: list[object] = []

    async def app(scope: object, receive: object, send: object) -> None:
        seen.append(scope)

    lifespan = {"type": "lifespan"}
    await wrap_asgi(app)(lifespan, None, None)
    assert seen[0] is lifespan


@pytest.mark.parametrize("server", REMOVED_VARIABLES)
def test_variables_by_which_a_server_would_leave_its_slot_are_left_out(
    server: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """It is told once for a pool, and others stay."""
    prefix = server.upper()
    for slot in ("0", "1"):
        monkeypatch.setenv("HOTSWAP_SLOT", slot)
        monkeypatch.setenv(f"{prefix}_WORKERS", "3")
        monkeypatch.setenv(f"{prefix}_LOG_LEVEL", "debug")
        leave_out(server)
        assert f"{prefix}_WORKERS" not in os.environ
        assert os.environ[f"{prefix}_LOG_LEVEL"] == "debug"
    assert capsys.readouterr().err.count(f"{prefix}_WORKERS=3") == 1
    assert APP_VARIABLE not in os.environ


@pytest.mark.parametrize(("interface", "attribute"), [("wsgi", "wsgi"), ("wsgi", "asgi"), ("asgi", "asgi")])
def test_the_app_is_wrapped_as_what_it_is(shop: str, interface: str, attribute: str, monkeypatch: pytest.MonkeyPatch):
    """gunicorn is of WSGI by itself, and its worker class may be of ASGI."""
    monkeypatch.setenv(APP_VARIABLE, f"{interface} {shop}:{attribute}")
    finder = AppFinder()
    assert finder.find_spec("another") is None
    for name in (MODULE, f"package.{MODULE}"):
        spec = finder.find_spec(name)
        assert spec is not None
        module = module_from_spec(spec)
        finder.exec_module(module)
        assert iscoroutinefunction(module.app) == (attribute == "asgi")


def test_any_python_in_use_can_run_it():
    """It is run by the interpreter of the app."""
    source = (REPOSITORY / "backends" / "hotswap_backends" / "serve.py").read_text(encoding="utf-8")
    ast.parse(source, feature_version=(3, 8))
