"""A first configuration: which app is here, which server suits it, and the file with a comment on every line."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from proxy.cli.exits import CommandError, ExitCode
from proxy.core.server import ABILITIES, Interface, Server

ASGI_MAKERS = {"FastAPI", "Starlette", "Quart", "Litestar", "Sanic", "BlackSheep", "get_asgi_application"}
WSGI_MAKERS = {"Flask", "Bottle", "get_wsgi_application", "make_wsgi_app", "APIFlask"}
BARE_APPS = {("scope", "receive", "send"): Interface.ASGI, ("environ", "start_response"): Interface.WSGI}
"""Apps without a framework: functions with the parameters that the specifications name."""

MOST_FILES = 500
"""So many Python files are looked at; a tree with more is named by hand."""

SKIPPED = {"tests", "test", "docs", "node_modules", "build", "dist", "site-packages"}

PREFERRED = {
    Interface.ASGI: (Server.UVICORN, Server.HYPERCORN, Server.GRANIAN, Server.DAPHNE),
    Interface.WSGI: (Server.GUNICORN, Server.WAITRESS, Server.GRANIAN),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Starter:
    """What the file is written for.

    Attributes:
        app: what the server imports.
        interface: what it speaks.
        server: the preset.
        pool: the name of its pool.
    """

    app: str
    interface: Interface
    server: Server
    pool: str


def detect_starter(directory: Path, *, app: str | None, server: str | None) -> Starter | list[str]:
    """Find the app of a directory, without importing anything.

    Args:
        directory: where to look.
        app: what was named; it is then only asked what it speaks.
        server: what was named.

    Returns:
        The one app, or the names of several or none: then somebody has to choose.

    Raises:
        CommandError: what was named cannot be used.
    """
    found = dict(find_apps(directory))
    if app is None and len(found) != 1:
        return sorted(found)
    name = app if app is not None else next(iter(found))
    module, colon, attribute = name.partition(":")
    if not colon or not module or not attribute:
        raise CommandError(ExitCode.USAGE, f"--app is {name!r}: allowed: MODULE:ATTRIBUTE, such as shop.asgi:app")
    interface = found.get(name, Interface.WSGI if "wsgi" in module.lower() else Interface.ASGI)
    chosen = _choose_server(server, interface)
    if interface not in ABILITIES[chosen].interfaces:
        interface = ABILITIES[chosen].interfaces[0]
    pool = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in module.split(".")[0].lower())
    return Starter(app=name, interface=interface, server=chosen, pool=pool.strip("-") or "app")


def _choose_server(named: str | None, interface: Interface) -> Server:
    presets = [server for server in Server if server is not Server.COMMAND]
    if named is not None:
        if named not in presets:
            raise CommandError(ExitCode.USAGE, f"--server is {named!r}: allowed: {', '.join(presets)}")
        return Server(named)
    installed = (server for server in PREFERRED[interface] if importlib.util.find_spec(server.value) is not None)
    return next(installed, PREFERRED[interface][0])


def find_apps(directory: Path) -> Iterator[tuple[str, Interface]]:
    """Give the apps that are made at the top of the modules below a directory, and what they speak."""
    for number, path in enumerate(_sources(directory, depth=3)):
        if number >= MOST_FILES:
            return
        try:
            tree = ast.parse(path.read_bytes())
        except (OSError, SyntaxError, ValueError):
            continue
        parts = path.relative_to(directory).with_suffix("").parts
        module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        for name, interface in _apps_in(tree):
            yield f"{module}:{name}", interface


def _sources(directory: Path, depth: int) -> Iterator[Path]:
    try:
        entries = sorted(directory.iterdir())
    except OSError:
        return
    for entry in entries:
        if not entry.stem.isidentifier() or entry.name.lower() in SKIPPED or entry.is_symlink():
            continue
        if entry.suffix == ".py" and not entry.name.startswith("test_"):
            yield entry
        elif depth and entry.is_dir() and not (entry / "pyvenv.cfg").exists():
            yield from _sources(entry, depth - 1)


def _apps_in(tree: ast.Module) -> Iterator[tuple[str, Interface]]:
    for statement in tree.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call(func=maker)):
                pass
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.Call(func=maker)):
                pass
            case ast.AsyncFunctionDef(name=name) | ast.FunctionDef(name=name):
                parameters = tuple(parameter.arg for parameter in statement.args.args)
                if parameters in BARE_APPS:
                    yield name, BARE_APPS[parameters]
                continue
            case _:
                continue
        match maker:
            case ast.Name(id=made) | ast.Attribute(attr=made):
                if made in ASGI_MAKERS:
                    yield name, Interface.ASGI
                elif made in WSGI_MAKERS:
                    yield name, Interface.WSGI


def write_starter(path: Path, starter: Starter, *, force: bool) -> None:
    """Write the file.

    Raises:
        FileExistsError: it is there, and `force` is False.
        OSError: it cannot be written.
    """
    with path.open("w" if force else "x", encoding="utf-8") as stream:
        stream.write(starter_text(starter))


def starter_text(starter: Starter) -> str:
    """Give the file: what is needed, and as comments what most people change next."""
    own = ABILITIES[starter.server].interfaces[0] is starter.interface
    interface = "" if own else f'interface = "{starter.interface}"\n'
    return f"""\
# hotswap: what this proxy listens on, and what runs behind it.
# "hotswap check" says what is wrong with it; the reference of every key is docs/reference/configuration.md.

[listeners.public]
bind = ["127.0.0.1:8000"]          # for the world: ["0.0.0.0:8000", "[::]:8000"]
# For HTTPS, with a certificate for development:
# tls = {{ self_signed = ["localhost"] }}
# ... or with your own:
# tls = {{ certificates = [{{ cert = "fullchain.pem", key = "privkey.pem" }}] }}

[[routes]]                         # the longest path wins
path = "/"
pool = "{starter.pool}"

[pools.{starter.pool}]
server = "{starter.server}"
app = "{starter.app}"
{interface}directory = "."                    # a symbolic link that a deploy moves on is resolved at each rollout
size = 2                           # so many processes; "auto": one less than there are processors
# environment = {{ DATABASE_URL = "sqlite:///data.db" }}
# start_timeout = "30s"            # from spawn to healthy
# drain_timeout = "30s"            # how long a replaced process may finish its requests
# rollout = {{ strategy = "drain-first", on_failure = "lock" }}

[pools.{starter.pool}.health]
path = "/"                         # better a path that answers 200 only when the app can really serve
# expect = "200-399"
# interval = "2s"

# [pools.{starter.pool}.compatibility]
# file = "RESTART_EPOCH"           # a number in it; releases with another number are not rolled in
"""
