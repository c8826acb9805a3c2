"""Runs a server for one slot: one process on the socket it was given, and an app that sees the client.

Started as `python serve.py SERVER INTERFACE MODULE:ATTRIBUTE ARGUMENT…`, by the interpreter of the app, in the place of
`python -m SERVER ARGUMENT…`. In the arguments `hotswap_app:app` stands for the app: a module that exists nowhere but
here, and imports the real one when the server imports it. Two things follow:

- every server, whatever it makes of forwarded fields, calls an app that is told the address and the scheme of the
  client as the proxy knows them, and nothing that a client wrote; likewise below which path it stands, where the proxy
  takes one off;
- settings by which a server would leave its slot (a pid file, a second process, an address of its own, an end after so
  many requests) are taken out of its environment and its configuration file; each is told in a line.

Standard library only, and no import of anything beside it, because the interpreter may be any; it is executed again in
processes that the server starts by Python's multiprocessing, as their main module.
"""

from __future__ import annotations

import inspect
import os
import re
import runpy
import sys
from functools import lru_cache
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from ipaddress import ip_address
from types import ModuleType
from typing import Any, Awaitable, Callable, Iterable, MutableMapping  # noqa: UP035  # older interpreters too
from urllib.parse import unquote, unquote_to_bytes

MODULE = "hotswap_app"
"""Module that the server is told to import the app from."""

APP_VARIABLE = "_HOTSWAP_APP"
"""Where processes that the server starts find `INTERFACE MODULE:ATTRIBUTE`."""

CLIENT_FIELD = b"x-hotswap-client"
"""Field in which the proxy says who the client is, where `X-Forwarded-For` has several hops; no client can write it."""

PREFIX_FIELD = b"x-forwarded-prefix"
"""Field in which the proxy says what it took off the path, percent-encoded and without a slash at the end."""

_TOLD = frozenset(
    (
        *(b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-port", b"x-forwarded-proto"),
        *(CLIENT_FIELD, PREFIX_FIELD),
    )
)

LONGEST_ADDRESS = 64
"""Characters of an address, with the name of an interface; what is longer is none."""

FACTORY_OPTIONS = ("--factory", "--call")
"""Options of servers that say what is seen here anyway: that the attribute makes the app."""

REMOVED_VARIABLES = {
    "uvicorn": (
        *("UVICORN_FACTORY", "UVICORN_FD", "UVICORN_HOST", "UVICORN_PORT", "UVICORN_UDS", "UVICORN_RELOAD"),
        *("UVICORN_LIMIT_MAX_REQUESTS", "UVICORN_LIMIT_MAX_REQUESTS_JITTER"),
        *("UVICORN_SSL_CERTFILE", "UVICORN_SSL_KEYFILE", "UVICORN_WORKERS"),
    ),
    "granian": (
        *("GRANIAN_FACTORY", "GRANIAN_HOST", "GRANIAN_PORT", "GRANIAN_UDS", "GRANIAN_PID_FILE", "GRANIAN_RELOAD"),
        *("GRANIAN_SSL_CERTIFICATE", "GRANIAN_SSL_KEYFILE"),
        *("GRANIAN_WORKERS", "GRANIAN_WORKERS_LIFETIME", "GRANIAN_WORKERS_MAX_RSS"),
    ),
}
"""Variables by which a server would leave its slot."""

GUNICORN_DEFAULTS = (
    *("certfile", "check_config", "daemon", "keyfile", "max_requests", "max_requests_jitter", "pidfile"),
    *("print_config", "protocol", "proxy_protocol", "reload", "reuse_port"),
)
"""Settings of gunicorn that keep their default, wherever they come from."""

HYPERCORN_FORCED: dict[str, Any] = {
    "certfile": None,
    "insecure_bind": [],
    "keyfile": None,
    "max_requests": None,
    "pid_path": None,
    "quic_bind": [],
    "use_reloader": False,
}
"""Settings of hypercorn that are as they have to be, wherever they come from."""

Message = MutableMapping[str, Any]
Asgi = Callable[..., Awaitable[None]]
Wsgi = Callable[..., Iterable[bytes]]


def serve(server: str, interface: str, app: str, arguments: list[str]) -> None:
    """Run a server in this process until it ends; raises SystemExit as it does.

    Args:
        server: its module.
        interface: what it calls the app by, `asgi` or `wsgi`.
        app: the app, as `MODULE:ATTRIBUTE`.
        arguments: of its command line, with `hotswap_app:app` for the app.
    """
    os.environ[APP_VARIABLE] = f"{interface} {app}"
    sys.argv[:] = [server, *(argument for argument in arguments if argument not in FACTORY_OPTIONS)]
    leave_out(server)
    if server == "gunicorn":
        _run_gunicorn()
    elif server == "hypercorn":
        _run_hypercorn()
    else:
        # Not as the main module: processes that the server starts are to begin with this file.
        runpy.run_module(server, run_name="__main__")


def leave_out(server: str) -> None:
    """Take out of the environment what would have the server leave its slot."""
    for name in REMOVED_VARIABLES.get(server, ()):
        value = os.environ.pop(name, None)
        if value is not None:
            _tell(f"the variable {name}={value}")


def _tell(what: str) -> None:
    # Once for a pool, not once for each of its backends.
    if os.environ.get("HOTSWAP_SLOT", "0") == "0":
        print(f"hotswap: left out, since this is one slot of a pool: {what}", file=sys.stderr, flush=True)


def _run_gunicorn() -> None:
    from gunicorn.app.wsgiapp import WSGIApplication

    class SlotApplication(WSGIApplication):  # type: ignore[misc]
        """What the gunicorn command runs, except for the settings that would have it leave its slot."""

        def load_config(self) -> None:
            """Read every source of settings, and put back those that do not fit into a slot."""
            super().load_config()
            self.cfg.set("default_proc_name", os.environ[APP_VARIABLE].partition(" ")[2])
            for name in GUNICORN_DEFAULTS:
                setting = self.cfg.settings.get(name)
                if setting is not None and setting.get() != setting.default:
                    _tell(f"gunicorn's setting {name} = {setting.get()!r}")
                    self.cfg.set(name, setting.default)

    SlotApplication("%(prog)s [OPTIONS] [APP_MODULE]", prog="gunicorn").run()


def _run_hypercorn() -> None:
    main = import_module("hypercorn.__main__")
    run = main.run

    def run_in_slot(config: Any) -> int:
        for name, value in HYPERCORN_FORCED.items():
            found = getattr(config, name, value)
            if found != value:
                _tell(f"hypercorn's setting {name} = {found!r}")
                setattr(config, name, value)
        code: int = run(config)
        return code

    main.run = run_in_slot  # type: ignore[attr-defined]
    sys.exit(main.main())


# The app.


class AppFinder(MetaPathFinder, Loader):
    """Finds `hotswap_app`, and makes it: the real app is imported when that is."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Give the module that stands for the app, and nothing else."""
        # granian looks for it in a package where the working directory is one.
        return ModuleSpec(fullname, self) if fullname.rpartition(".")[2] == MODULE else None

    def create_module(self, spec: ModuleSpec) -> None:
        """Leave it to Python."""

    def exec_module(self, module: ModuleType) -> None:
        """Import the real app and wrap it."""
        interface, _, target = os.environ[APP_VARIABLE].partition(" ")
        app = find_app(target)
        # gunicorn speaks what its worker class speaks, which its own settings may name.
        wsgi = interface == "wsgi" and (_takes(app, 2) or not _takes(app, 3))
        module.app = wrap_wsgi(app) if wsgi else wrap_asgi(app)  # type: ignore[attr-defined]


def find_app(target: str) -> Any:
    """Import `MODULE:ATTRIBUTE`.

    The attribute may also be an expression such as `create_app("production")`, and what needs no arguments to be called
    is called, because it makes the app.

    Raises:
        ImportError, AttributeError: it is not there.
    """
    name, _, attribute = target.partition(":")
    found: Any = import_module(name)
    if re.fullmatch(r"[\w.]+", attribute):
        for part in attribute.split("."):
            found = getattr(found, part)
    else:
        found = eval(attribute, vars(found))
    return found() if _takes(found, 0) else found


def _takes(app: Any, count: int) -> bool:
    """Whether something can be called with so many arguments; False also where that cannot be told."""
    try:
        inspect.signature(app).bind(*[None] * count)
    except (TypeError, ValueError):
        return False
    return True


def wrap_asgi(app: Any) -> Asgi:
    """Have an ASGI app told of the client by what the proxy says; requests without that are left as they are."""
    double = _takes(app, 1) and not _takes(app, 3)  # ASGI 2
    whole = reads_whole_paths()

    async def told(scope: Message, receive: Any, send: Any) -> None:
        if scope["type"] in ("http", "websocket"):
            scope = told_scope(scope, whole=whole)
        if double:
            await app(scope)(receive, send)
        else:
            await app(scope, receive, send)

    return told


def reads_whole_paths() -> bool:
    """Whether the app is made with what takes `root_path` off `path` itself.

    So ASGI has it by now; others, and apps without a framework, look at `path` alone, and had nothing in it before.
    """
    frameworks = ("django.core.handlers.asgi", "litestar.app", "quart.app")
    routing = sys.modules.get("starlette.routing")  # also below FastAPI; before 0.33 it looked at `path` alone
    return hasattr(routing, "get_route_path") or any(name in sys.modules for name in frameworks)


def told_scope(scope: Message, *, whole: bool = False) -> Message:
    """Give the scope with client, scheme, server and mount as the proxy says them; the same one where it says nothing.

    Args:
        scope: of a request, as the server made it.
        whole: as of `reads_whole_paths`.
    """
    told = {name: value for name, value in scope["headers"] if name in _TOLD}
    chain = told.get(b"x-forwarded-for")
    if chain is None:
        return scope
    scope = dict(scope)
    client = told.get(CLIENT_FIELD)
    if client is not None:
        scope["headers"] = [field for field in scope["headers"] if field[0] != CLIENT_FIELD]
    address = client_of(None if client is None else client.decode("latin-1"), chain.decode("latin-1"))
    scope["client"] = (address, 0) if address else None
    secure = is_secure(told.get(b"x-forwarded-proto", b"").decode("latin-1"))
    if scope["type"] == "websocket":
        scope["scheme"] = "wss" if secure else "ws"
    else:
        scope["scheme"] = "https" if secure else "http"
    hosts, ports = told.get(b"x-forwarded-host", b""), told.get(b"x-forwarded-port", b"")
    host, port = server_of(hosts.decode("latin-1"), ports.decode("latin-1"))
    if host and port:
        scope["server"] = (host, int(port))
    prefix = told.get(PREFIX_FIELD)
    # A root_path that the server was told by its own settings stays: whoever wrote them knew where the app stands.
    if prefix and not scope.get("root_path"):
        root = scope["root_path"] = unquote(prefix.decode("latin-1"))
        if whole:
            scope["path"] = root + scope["path"]
            if scope.get("raw_path") is not None:
                scope["raw_path"] = prefix + scope["raw_path"]
    return scope


def wrap_wsgi(app: Any) -> Wsgi:
    """Have a WSGI app told of the client by what the proxy says; requests without that are left as they are."""

    def told(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        tell_environ(environ)
        answer: Iterable[bytes] = app(environ, start_response)
        return answer

    return told


def tell_environ(environ: dict[str, Any]) -> None:
    """Set client, scheme, server and mount as the proxy says them; nothing where it says nothing."""
    client = environ.pop("HTTP_X_HOTSWAP_CLIENT", None)
    chain = environ.get("HTTP_X_FORWARDED_FOR")
    if chain is None:
        return
    environ["REMOTE_ADDR"] = client_of(client, chain)
    environ.pop("REMOTE_PORT", None)
    environ.pop("REMOTE_HOST", None)
    secure = is_secure(environ.get("HTTP_X_FORWARDED_PROTO", ""))
    environ["wsgi.url_scheme"] = "https" if secure else "http"
    environ["HTTPS"] = "on" if secure else "off"
    host, port = server_of(environ.get("HTTP_X_FORWARDED_HOST", ""), environ.get("HTTP_X_FORWARDED_PORT", ""))
    if host and port:
        environ["SERVER_NAME"], environ["SERVER_PORT"] = host, port
    prefix = environ.get("HTTP_X_FORWARDED_PREFIX")
    if prefix and not environ.get("SCRIPT_NAME"):
        environ["SCRIPT_NAME"] = unquote_to_bytes(prefix).decode("latin-1")  # as PEP 3333 has bytes


def client_of(told: str | None, chain: str) -> str:
    """Give the client's address, from what the proxy says of it, or from the last hop where that is the client.

    Empty for a client that has none, behind a Unix socket or another proxy that does not tell.
    """
    address = (chain.rpartition(",")[2] if told is None else told).strip()
    return _address(address) if len(address) <= LONGEST_ADDRESS else ""


@lru_cache(maxsize=1024)
def _address(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        return ""


def is_secure(schemes: str) -> bool:
    """Whether the client came by TLS; of several proxies the first knows it."""
    return schemes.partition(",")[0].strip().lower() in ("https", "wss")


def server_of(hosts: str, ports: str) -> tuple[str, str]:
    """Give name and port that the client asked for, of several proxies those that the first was asked for."""
    host = hosts.partition(",")[0].strip()
    name = host[: host.find("]") + 1] if host.startswith("[") else host.partition(":")[0]
    port = ports.partition(",")[0].strip()
    return name.strip("[]"), port if len(port) < 6 and port.isascii() and port.isdigit() else ""


if __name__ in ("__main__", "__mp_main__"):
    sys.meta_path.append(AppFinder())
if __name__ == "__main__":
    if not getattr(sys.flags, "safe_path", False):
        # As with `python -m`: the working directory, not that of this file.
        sys.path[0] = os.getcwd()
    serve(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:])
